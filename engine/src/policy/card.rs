//! What of a connection is needed for every packet, side by side: made of the connection and of
//! what it may reach, when it is first needed, and again when either has changed.

use core::net::IpAddr;

use super::directory::{Connection, Directory, Endpoint, PathFacts};
use super::trust::{Access, Rights};
use crate::frame::Side;
use crate::ids::{ClientId, DomainId, ServerQpId};
use crate::wire::facts::{Ends, Facts};

/// A connection whose packets have the usual shape: IPv4, untagged. A cache line for each
/// direction. Whether there is a card at all is told by the second one, which is so read first.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Card {
    pub(crate) request: Facts,
    granted: Granted,
    // No fewer bits: with these the first line is full.
    pub(crate) path_mtu: u32,
    partition_key: u32,
    /// READs and atomics that its server queue pair takes at a time.
    pub(crate) depth: u32,
    pub(crate) domain: DomainId,
    pub(crate) response: Facts,
    reach: Reach,
}

/// What was found last of what a queue pair may reach. It may be more by now, never less.
#[derive(Clone, Copy, Debug)]
struct Reach {
    start: u64,
    end: u64,
    remote_key: u32,
    rights: Rights,
    /// The operator says so, of all queue pairs of the server.
    configured: bool,
}

/// What a queue pair has shown under one memory key, as far as that was asked for.
#[derive(Clone, Copy, Debug)]
struct Granted {
    remote_key: u32,
    rights: Rights,
}

impl Card {
    /// The card of a connection; `None` if its packets have another shape.
    pub(crate) fn new(connection: &Connection) -> Option<Card> {
        let Connection { client, server, request, response, .. } = connection;
        Some(Card {
            request: facts(client, server, request)?,
            response: facts(server, client, response)?,
            domain: connection.domain,
            path_mtu: connection.path_mtu.into(),
            partition_key: request.partition_key.into(),
            depth: connection.depth.max(1).into(),
            reach: Reach {
                start: 1,
                end: 0,
                remote_key: 0,
                rights: Rights::NONE,
                configured: false,
            },
            granted: Granted { remote_key: 0, rights: Rights::NONE },
        })
    }

    /// What packets that come in on a side have in common.
    #[inline]
    pub(crate) fn facts(&self, side: Side) -> &Facts {
        match side {
            Side::Client => &self.request,
            Side::Server => &self.response,
        }
    }

    /// Whether its queue pair is certain to accept the access, as far as is known here.
    #[inline]
    fn reaches(&self, access: &Access) -> bool {
        let Reach { start, end, remote_key, rights, .. } = self.reach;
        let ends = access.start.checked_add(u64::from(access.len));
        remote_key == access.remote_key
            && rights.contains(access.right)
            && access.start >= start
            && ends.is_some_and(|ends| ends <= end)
    }

    /// Whether the cards say that it is certain that `host`'s queue pair accepts an access of this
    /// client, a `guest` there if it is not its own, and that its own would.
    #[inline(always)]
    pub(crate) fn is_certain(&self, host: &Card, guest: bool, access: &Access) -> bool {
        let Granted { remote_key, rights } = host.granted;
        let granted = remote_key == access.remote_key && rights.contains(access.right);
        self.reaches(access) && (!guest || self.fits(host) && (self.reach.configured || granted))
    }

    /// Reads a little of the first line; the second one is read by whoever has the card.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        self.granted.remote_key.into()
    }

    /// Whether a frame of this connection can become one of the other's.
    #[inline]
    fn fits(&self, other: &Card) -> bool {
        self.path_mtu == other.path_mtu && self.partition_key == other.partition_key
    }
}

fn facts(from: &Endpoint, to: &Endpoint, path: &PathFacts) -> Option<Facts> {
    let (IpAddr::V4(source), IpAddr::V4(destination), None) = (from.ip, to.ip, path.tag) else {
        return None;
    };
    Some(Facts::new(&Ends {
        macs: [to.mac, from.mac],
        ips: [source, destination],
        dest_qp: to.qpn,
        source_port: path.source_port,
        traffic_class: path.traffic_class,
        hop_limit: path.hop_limit,
        migration_request: path.migration_request,
        partition_key: path.partition_key,
    }))
}

impl Directory {
    /// Whether the cards say so: see [`Card::is_certain`].
    pub(crate) fn is_known_certain(&self, id: ClientId, host: ServerQpId, access: &Access) -> bool {
        let (Some(own), Some(other)) = (self.card(id), self.card(host.owner())) else {
            return false;
        };
        own.is_certain(other, host != id.own_server_qp(), access)
    }

    /// Looks up whether it is certain that a server queue pair accepts a client's access, and that
    /// the client's own would, where their cards do not say so yet: as [`Directory::fit`] says, but
    /// only for usual shapes and equal paths. Both cards if so.
    #[cold]
    pub(crate) fn find_certain(
        &mut self,
        id: ClientId,
        host: ServerQpId,
        access: &Access,
    ) -> Option<(&Card, &Card)> {
        let guest = host != id.own_server_qp();
        if !self.card(id)?.reaches(access) && !self.find_reach(id, access) {
            return None;
        }
        let (own, other) = (self.card(id)?, self.card(host.owner())?);
        let certain = own.is_certain(other, guest, access)
            || own.fits(other) && self.find_granted(host, access);
        certain.then_some((self.card(id)?, self.card(host.owner())?))
    }

    /// Looks up what a queue pair reaches around an access. Whether it is certain to accept it.
    fn find_reach(&mut self, id: ClientId, access: &Access) -> bool {
        let Some(connection) = self.client(id) else { return false };
        let (server, domain) = (connection.server.ip, connection.domain);
        let Some((range, rights, configured)) =
            self.trust.reach(server, domain, id.own_server_qp(), access)
        else {
            return false;
        };
        let Some(card) = self.card_mut(id) else { return false };
        let (start, end, remote_key) = (range.start, range.end, access.remote_key);
        card.reach = Reach { start, end, remote_key, rights, configured };
        card.reaches(access)
    }

    /// Looks up what a queue pair has shown under an access's memory key. Whether that suffices.
    fn find_granted(&mut self, id: ServerQpId, access: &Access) -> bool {
        let rights = self.trust.granted(id, access.remote_key);
        if let Some(card) = self.card_mut(id.owner()) {
            card.granted = Granted { remote_key: access.remote_key, rights };
        }
        rights.contains(access.right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn a_card_has_a_cache_line_for_each_direction() {
        assert_eq!(offset_of!(Card, response), 64);
        assert_eq!(size_of::<Option<Card>>(), 128);
    }
}
