//! Which key a request is for.

use super::client_request::Shape;
use super::route::Route;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::ClientId;
use crate::mail::Kind;
use crate::policy::{KeyOf, Map, Steer};
use crate::wire::{Layout, Opcode};

impl Engine {
    /// The key of a request, as far as it can be told now.
    pub(super) fn key_of(
        &mut self,
        id: ClientId,
        last_key: Option<u64>,
        frame: &Frame<'_>,
        layout: &Layout,
        shape: &Shape,
    ) -> KeyOf {
        let read = layout.opcode == Opcode::ReadRequest;
        if read && self.choices.map != Map::All {
            return KeyOf::Keyless;
        }
        let extent = shape.access.map(|access| (access.start, access.len));
        let payload = layout.payload(frame.bytes());
        match self.policy.profile.key_of(layout.opcode, payload, extent, last_key) {
            KeyOf::OfAddress { otherwise, named } => {
                let Some((address, _)) = extent else { return KeyOf::Unknown };
                self.key_at(id, address, otherwise, named, read)
            }
            found => found,
        }
    }

    /// The key of what is at an address of the client's server.
    fn key_at(
        &mut self,
        id: ClientId,
        address: u64,
        otherwise: Option<u64>,
        named: bool,
        read: bool,
    ) -> KeyOf {
        let Some(domain) = self.directory.client(id).map(|connection| connection.domain) else {
            return KeyOf::Unknown;
        };
        if let Some(key) = self.addresses.get(domain, address) {
            self.counters.address_hits += 1;
            return KeyOf::Known(key);
        }
        self.counters.address_misses += u64::from(otherwise.is_none());
        match otherwise {
            Some(key) => KeyOf::Known(key),
            None if named => {
                self.note_address(id, address, address);
                KeyOf::Known(address)
            }
            None if read => KeyOf::Keyless,
            None => KeyOf::Unknown,
        }
    }

    /// What an accepted request shows of keys and lists.
    pub(super) fn note_request(
        &mut self,
        id: ClientId,
        route: &Route,
        shape: &Shape,
        frame: &mut Frame<'_>,
        layout: &Layout,
    ) {
        // Who was steered before a switch reports it after.
        if self.policy.steer != Steer::None {
            self.mend_report(id.own_server_qp(), frame, layout);
        }
        let (Kind::Plain, Some(access)) = (shape.kind, shape.access) else { return };
        let key = route.key.known();
        if let Some(key) = key {
            self.note_address(id, access.start, key);
        }
        self.note_written(id, key, &access, frame, layout);
    }

    /// What is at an address of the client's server belongs to a key.
    pub(super) fn note_address(&mut self, id: ClientId, address: u64, key: u64) {
        let Some(domain) = self.directory.client(id).map(|connection| connection.domain) else {
            return;
        };
        let evicted = self.addresses.insert(domain, address, key);
        self.counters.address_evictions += u64::from(evicted);
    }
}
