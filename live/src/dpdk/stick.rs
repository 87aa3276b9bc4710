//! One port for both sides: whose a frame is, and where it goes next.

use std::net::IpAddr;

use qpmux_engine::Side;

use crate::addresses::Addresses;
use crate::config::Neighbour;
use crate::subnets::Subnets;

/// Bytes of both Ethernet addresses.
const ETHERNET_ADDRESSES: usize = 12;

/// Tells sides apart by the servers' subnets, and addresses frames to the next station.
#[derive(Clone, Debug)]
pub(super) struct Stick {
    servers: Subnets,
    /// Sorted by IP address. Empty: Ethernet addresses stay as they are.
    neighbours: Vec<(IpAddr, [u8; 6])>,
}

impl Stick {
    pub(super) fn new(servers: Subnets, neighbours: &[Neighbour]) -> Stick {
        let mut neighbours: Vec<_> = neighbours.iter().map(|each| (each.ip, each.mac.0)).collect();
        neighbours.sort_unstable();
        Stick { servers, neighbours }
    }

    /// The side where a frame comes from. `None`: it is neither from nor to a server, or, where
    /// frames are addressed anew, not for this port's address `own`.
    pub(super) fn side(&self, own: [u8; 6], frame: &[u8]) -> Option<Side> {
        if !self.neighbours.is_empty() && frame.get(..own.len()) != Some(&own) {
            return None;
        }
        let Addresses { source, destination } = Addresses::of(frame)?;
        if self.servers.contain(source) {
            return Some(Side::Server);
        }
        self.servers.contain(destination).then_some(Side::Client)
    }

    /// Both Ethernet addresses that the frame is to have now; `None` if no neighbour is known
    /// there.
    pub(super) fn next_hop(&self, own: [u8; 6], frame: &[u8]) -> Option<[u8; ETHERNET_ADDRESSES]> {
        let mut hop = [0; ETHERNET_ADDRESSES];
        if self.neighbours.is_empty() {
            hop.copy_from_slice(frame.get(..ETHERNET_ADDRESSES)?);
            return Some(hop);
        }
        let to = Addresses::of(frame)?.destination;
        let at = self.neighbours.binary_search_by_key(&to, |(ip, _)| *ip).ok()?;
        let (_, mac) = self.neighbours.get(at)?;
        hop[..6].copy_from_slice(mac);
        hop[6..].copy_from_slice(&own);
        Some(hop)
    }
}
