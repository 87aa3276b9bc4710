//! Which worker has which servers.

use std::net::IpAddr;

use qpmux_engine::Side;

use crate::addresses::Addresses;
use crate::subnets::Subnets;

/// The servers of each worker.
#[derive(Clone, Debug)]
pub struct Shares {
    /// What is served at all.
    servers: Subnets,
    /// What is given to each worker by name.
    named: Vec<Subnets>,
}

impl Shares {
    /// One entry of `named` for each worker, at least one; a server that no worker is given by
    /// name belongs to the one that the hash of its address says. Others than `servers`, if there
    /// are any, are nobody's.
    #[must_use]
    pub fn new(servers: Subnets, named: Vec<Subnets>) -> Shares {
        Shares { servers, named }
    }

    /// Number of workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.named.len().max(1)
    }

    /// What is given to each worker by name.
    #[must_use]
    pub fn named(&self) -> &[Subnets] {
        &self.named
    }

    /// Whose frame it is that came in on `side`. `None`: nobody's, whoever has it lets it pass.
    #[must_use]
    pub fn owner(&self, side: Side, frame: &[u8]) -> Option<usize> {
        // The rest passes wherever it is: nobody needs to see all of it.
        let addresses = Addresses::of_roce(frame)?;
        let server = match side {
            Side::Client => addresses.destination,
            Side::Server => addresses.source,
        };
        (self.servers.is_empty() || self.servers.contain(server)).then(|| self.of_server(server))
    }

    /// The worker of a server.
    #[must_use]
    pub fn of_server(&self, server: IpAddr) -> usize {
        let named = self.named.iter().position(|given| given.contain(server));
        named.unwrap_or_else(|| hash(server) % self.workers())
    }
}

/// Spreads also addresses that follow each other.
fn hash(address: IpAddr) -> usize {
    let folded = match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits >> 64) as u64 ^ bits as u64
        }
    };
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnets(text: &str) -> Subnets {
        Subnets::try_from(vec![text.to_owned()]).unwrap()
    }

    fn frame(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([8, 0]);
        frame.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend(source);
        frame.extend(destination);
        frame.extend([0xc0, 0, 0x12, 0xb7]);
        frame
    }

    #[test]
    fn both_ways_of_a_server_are_one_workers() {
        let shares = Shares::new(Subnets::default(), vec![Subnets::default(); 4]);
        let mut met = [0; 4];
        for last in 0..200 {
            let (client, server) = ([10, 0, 0, 1], [192, 0, 2, last]);
            let asks = shares.owner(Side::Client, &frame(client, server)).unwrap();
            assert_eq!(shares.owner(Side::Server, &frame(server, client)), Some(asks));
            met[asks] += 1;
        }
        assert!(met.iter().all(|met| *met > 20), "{met:?}");
        assert_eq!(shares.owner(Side::Client, &[0; 60]), None, "no addresses");
        let mut other = frame([10, 0, 0, 1], [192, 0, 2, 1]);
        other[14 + 9] = 6;
        assert_eq!(shares.owner(Side::Client, &other), None, "TCP");
    }

    #[test]
    fn names_come_first_and_strangers_are_nobodys() {
        let named = vec![Subnets::default(), subnets("192.0.2.0/28")];
        let shares = Shares::new(subnets("192.0.2.0/24"), named);
        assert!((0..16).all(|last| shares.of_server([192, 0, 2, last].into()) == 1));
        assert!((16..48).any(|last| shares.of_server([192, 0, 2, last].into()) == 0));
        let (client, stranger) = ([10, 0, 0, 1], [198, 51, 100, 1]);
        assert_eq!(shares.owner(Side::Client, &frame(client, stranger)), None);
        assert_eq!(shares.owner(Side::Server, &frame(client, [192, 0, 2, 1])), None);
        assert!(shares.owner(Side::Client, &frame(client, [192, 0, 2, 1])).is_some());
    }
}
