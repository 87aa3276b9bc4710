//! Packets on their way.

use std::collections::VecDeque;

use qpmux_engine::Side;
use qpmux_engine::wire::Layout;

use super::super::traffic::{CLIENTS, SERVER, host_of, qpns_of};

/// Packets that a leg holds; what comes then is lost.
const ROOM: usize = 256;

/// One part of the way, in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leg {
    ClientToBox,
    BoxToServer,
    ServerToBox,
    BoxToClient,
}

const LEGS: [Leg; 4] = [Leg::ClientToBox, Leg::BoxToServer, Leg::ServerToBox, Leg::BoxToClient];

/// The packets on each leg of each connection, in order.
#[derive(Default)]
pub(super) struct Legs([[VecDeque<Vec<u8>>; CLIENTS]; LEGS.len()]);

impl Legs {
    pub(super) fn all() -> impl Iterator<Item = (Leg, usize)> {
        LEGS.into_iter().flat_map(|leg| (0..CLIENTS).map(move |client| (leg, client)))
    }

    pub(super) fn send(&mut self, leg: Leg, client: usize, frame: Vec<u8>) {
        let queue = &mut self.0[leg as usize][client];
        if queue.len() < ROOM {
            queue.push_back(frame);
        }
    }

    pub(super) fn pop(&mut self, leg: Leg, client: usize) -> Option<Vec<u8>> {
        self.0[leg as usize][client].pop_front()
    }

    pub(super) fn has(&self, (leg, client): (Leg, usize)) -> bool {
        !self.0[leg as usize][client].is_empty()
    }

    /// The first leg from the chosen one on that has a packet.
    pub(super) fn filled(&self, choice: u8) -> Option<(Leg, usize)> {
        let count = LEGS.len() * CLIENTS;
        let from = usize::from(choice) % count;
        Self::all().chain(Self::all()).skip(from).take(count).find(|at| self.has(*at))
    }

    fn queue(&mut self, choice: u8) -> Option<&mut VecDeque<Vec<u8>>> {
        let (leg, client) = self.filled(choice)?;
        Some(&mut self.0[leg as usize][client])
    }

    /// The first packet of the chosen leg, which is lost.
    pub(super) fn take(&mut self, choice: u8) -> Option<Vec<u8>> {
        self.queue(choice)?.pop_front()
    }

    /// The first packet comes once more, last of all.
    pub(super) fn double(&mut self, choice: u8) {
        if let Some(queue) = self.queue(choice) {
            let frame = queue.front().cloned();
            queue.extend(frame);
        }
    }

    /// The first packet comes behind others.
    pub(super) fn swap(&mut self, choice: u8) {
        if let Some(queue) = self.queue(choice) {
            let behind = 1 + usize::from(choice >> 4) % 4;
            queue.swap(0, behind.min(queue.len() - 1));
        }
    }

    /// The first packet is not what it was. What it is now.
    pub(super) fn damage(&mut self, choice: u8, at: usize, change: u8) -> Option<Vec<u8>> {
        let frame = self.queue(choice)?.front_mut()?;
        let at = 14 + at % (frame.len() - 14);
        frame[at] ^= change;
        Some(frame.clone())
    }
}

/// Whom a packet of the engine is for.
pub(super) fn addressee(side: Side, layout: &Layout) -> Option<(Leg, usize)> {
    let is_request = side == Side::Server;
    let address = |client| if is_request { SERVER } else { host_of(client) };
    let client = (0..CLIENTS).find(|&client| {
        let qpn = qpns_of(client)[usize::from(is_request)];
        (layout.destination, layout.dest_qp) == (address(client), qpn)
    })?;
    Some((if is_request { Leg::BoxToServer } else { Leg::BoxToClient }, client))
}
