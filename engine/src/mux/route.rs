//! Which server queue pair a request goes to.

use super::client::{Client, Way};
use super::client_request::Shape;
use crate::counters::DeclineReason;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::{ClientId, ServerQpId};
use crate::mail::Kind;
use crate::policy::{Access, Fit, KeyMap, KeyOf, TrustBy};
use crate::rules::Rule;
use crate::wire::{Layout, Opcode};

/// Longest message of several packets that is held until it is whole, in packets: it must be
/// possible to give it up in one step.
const WHOLE_PACKETS_MAX: u32 = 8;

/// A request's way.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) way: Way,
    pub(super) key: KeyOf,
    /// The holder of its place.
    pub(super) host: Option<ServerQpId>,
    /// Why it stays on its client's own server queue pair although it has a key.
    pub(super) declined: Option<DeclineReason>,
}

impl Engine {
    /// Which server queue pair the request goes to, and what the policy says about it.
    pub(super) fn route(
        &mut self,
        id: ClientId,
        frame: &Frame<'_>,
        layout: &Layout,
        shape: &Shape,
    ) -> Route {
        if self.clients.get(id).is_some_and(|client| client.in_message) {
            let way = self.assembly_way(id).unwrap_or(Way::Own);
            return Route { way, host: None, key: KeyOf::Keyless, declined: None };
        }
        let own = Route { way: Way::Own, host: None, key: KeyOf::Keyless, declined: None };
        let Some(client) = self.clients.get(id) else { return own };
        let key = self.key_of(id, client.last_key, frame, layout, shape);
        let own = Route { key, ..own };
        let declined = |reason| Route { declined: Some(reason), ..own };
        let place_of = match key {
            KeyOf::Known(_) if !self.config.keeps(Rule::KeyHasOnePlace) => u64::from(id.0),
            KeyOf::Known(key) => key,
            _ if self.policy.key_map == KeyMap::ByConnection => 0,
            KeyOf::Unknown => return declined(DeclineReason::NoKey),
            KeyOf::Keyless | KeyOf::OfAddress { .. } => return own,
        };
        let access = shape.access.filter(|access| {
            is_mappable(layout.opcode)
                && self.packets_of(id, layout, shape, access) <= self.packets_max(layout)
        });
        let Some(access) = access else { return declined(DeclineReason::TooLong) };
        if self.is_declined(id, key) {
            return declined(DeclineReason::KeyDeclined);
        }
        let Some(place) = self.directory.place_of(self.policy.key_map, id, place_of) else {
            return declined(DeclineReason::NoPlace);
        };
        let Some(host) = self.host_of(place, id) else {
            return declined(DeclineReason::NoPlace);
        };
        let fit = self.directory.fit(id, host, &access, shape.packets);
        let mapped = Route { way: Way::Place(place), host: Some(host), ..own };
        let alone = self.policy.trust == TrustBy::Observation;
        match fit {
            Fit::Certain | Fit::NotTrusted if !self.config.keeps(Rule::CertainAcceptance) => mapped,
            Fit::Certain if is_sound(&access, layout) => mapped,
            Fit::Never(DeclineReason::PathDiffers) if !self.config.keeps(Rule::PathFits) => mapped,
            Fit::Never(reason) => declined(reason),
            _ if layout.opcode == Opcode::WriteFirst && !self.is_first(id, &access, layout) => {
                declined(DeclineReason::NotWhole)
            }
            Fit::Certain | Fit::NotTrusted if alone => Route { way: Way::Alone(place), ..own },
            Fit::Certain | Fit::NotTrusted => {
                self.decline_key(id, key);
                declined(DeclineReason::NotTrusted)
            }
        }
    }

    /// Where a repeated READ goes: to its client's own server queue pair, but inside the client's
    /// own message to another one, if one is certain to accept it.
    pub(super) fn route_repeat(&self, id: ClientId, shape: &Shape) -> (Way, ServerQpId) {
        let own = (Way::Own, id.own_server_qp());
        let inside = |client: &Client| client.in_message && client.assembly.is_none();
        let (Some(connection), Some(access)) = (self.directory.client(id), shape.access) else {
            return own;
        };
        let passes = self.config.keeps(Rule::ReadsPassMessages);
        if !self.clients.get(id).is_some_and(inside) || !passes {
            return own;
        }
        let mut places = self.directory.places.of_domain(connection.domain);
        let found = places.find_map(|place| {
            let state = self.directory.places.get(place)?;
            let host = state.host.filter(|host| *host != own.1)?;
            let open = state.alone.is_none() && !state.leaving;
            let fit = self.directory.fit(id, host, &access, shape.packets);
            (open && fit == Fit::Certain).then_some((Way::Place(place), host))
        });
        found.unwrap_or(own)
    }

    /// Packets of the message that a packet starts.
    fn packets_of(&self, id: ClientId, layout: &Layout, shape: &Shape, access: &Access) -> u32 {
        match (layout.opcode, self.directory.client(id)) {
            (Opcode::WriteFirst, Some(own)) => access.len.div_ceil(u32::from(own.path_mtu)),
            _ => shape.packets,
        }
    }

    /// Packets that a message has at most to leave its client's own server queue pair.
    fn packets_max(&self, layout: &Layout) -> u32 {
        if !self.config.keeps(Rule::LongStaysHome) {
            return u32::MAX;
        }
        let configured = self.policy.message_packets_max;
        match layout.opcode {
            Opcode::WriteFirst => {
                configured.min(WHOLE_PACKETS_MAX).min(self.config.client_window_max)
            }
            _ => configured,
        }
    }

    /// Whether a packet can be the first of several.
    fn is_first(&self, id: ClientId, access: &Access, layout: &Layout) -> bool {
        let full = self.directory.client(id).is_some_and(|own| own.path_mtu == layout.payload_len);
        full && access.len > u32::from(layout.payload_len)
    }

    fn is_declined(&self, id: ClientId, key: KeyOf) -> bool {
        let domain = self.directory.client(id).map(|connection| connection.domain);
        match (domain, key) {
            (Some(domain), KeyOf::Known(key)) => self.declined.contains(domain, key),
            _ => false,
        }
    }

    /// What the configured regions do not cover declines the key, not the request: its requests
    /// would else run on two server queue pairs.
    fn decline_key(&mut self, id: ClientId, key: KeyOf) {
        let domain = self.directory.client(id).map(|connection| connection.domain);
        if let (TrustBy::Configuration, Some(domain), KeyOf::Known(key)) =
            (self.policy.trust, domain, key)
        {
            self.declined.insert(domain, key);
        }
    }

    /// Counts what is declined of an accepted request, and remembers a written key for the atomic
    /// behind it.
    pub(super) fn count_route(&mut self, id: ClientId, route: &Route, shape: &Shape) {
        if let (KeyOf::Known(key), Kind::Plain, Some(client)) =
            (route.key, shape.kind, self.clients.get_mut(id))
        {
            client.last_key = Some(key);
        }
        let keyed = route.key != KeyOf::Keyless;
        self.counters.keyed += u64::from(keyed);
        if let (Way::Own, Some(reason)) = (route.way, route.declined)
            && keyed
        {
            self.counters.declined.count(reason as usize);
        }
    }

    /// Whether the owner's request may only be on its server queue pair while no guest is: it
    /// consumes a receive buffer, is long, or is not certain to be accepted. The rest of a
    /// message that has begun follows its first packet.
    pub(super) fn is_exclusive(&self, id: ClientId, layout: &Layout, shape: &Shape) -> bool {
        let Some(connection) = self.directory.client(id) else { return false };
        if !layout.opcode.starts_message() {
            return false;
        }
        let certain = shape.access.is_some_and(|access| {
            is_mappable(layout.opcode)
                && is_sound(&access, layout)
                && (self.directory.trust.is_configured(connection.server.ip, &access)
                    || self.directory.trust.allows(connection.domain, id.own_server_qp(), &access))
        });
        !certain
    }
}

/// What a host takes from others: it consumes no receive buffer.
fn is_mappable(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::WriteOnly
            | Opcode::WriteFirst
            | Opcode::ReadRequest
            | Opcode::CompareSwap
            | Opcode::FetchAdd
    )
}

/// Whether headers and payload agree, as every responder checks (rxe_resp.c): else the host
/// would be refused.
fn is_sound(access: &Access, layout: &Layout) -> bool {
    match layout.opcode {
        Opcode::WriteOnly => access.len == u32::from(layout.payload_len),
        Opcode::CompareSwap | Opcode::FetchAdd => access.start.is_multiple_of(8),
        _ => true,
    }
}
