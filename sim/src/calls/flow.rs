//! What packets belong to: a call over datagrams, or a connection of TCP. Both are machines that
//! never read a clock.

use super::datagram::Call;
use super::packet::{Packet, Side};
use super::tcp::Connection;
use crate::event::Ps;

/// A call, or a connection that carries many.
#[derive(Clone, Debug)]
pub(super) enum Flow {
    Call(Box<Call>),
    Connection(Box<Connection>),
}

/// A place for a flow, used again and again.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) generation: u32,
    /// Which pair of threads it is between.
    pub(super) route: u32,
    pub(super) flow: Option<Flow>,
    /// When each end is woken next, ps.
    pub(super) wakes: [Ps; 2],
}

impl Slot {
    pub(super) fn new(route: u32, flow: Flow) -> Self {
        Self { generation: 0, route, flow: Some(flow), wakes: [Ps::MAX; 2] }
    }
}

impl Flow {
    /// The next packet that an end sends.
    pub(super) fn poll_transmit(&mut self, now: Ps, from: Side) -> Option<Packet> {
        match self {
            Flow::Call(call) => call.poll_transmit(from),
            Flow::Connection(connection) => connection.poll_transmit(now, from),
        }
    }

    /// A packet comes to an end. The operations whose messages that end now has whole.
    pub(super) fn handle(&mut self, now: Ps, packet: &Packet) -> Vec<u32> {
        match self {
            Flow::Call(call) => match call.handle(now, packet.to, packet.body) {
                true => vec![call.op],
                false => Vec::new(),
            },
            Flow::Connection(connection) => connection.handle(now, packet.to, packet),
        }
    }

    /// The server has served an operation, and answers with so many bytes.
    pub(super) fn answer(&mut self, op: u32, bytes: u64) {
        match self {
            Flow::Call(call) => call.answer(),
            Flow::Connection(connection) => connection.send(Side::Server, op, bytes),
        }
    }

    /// When an end does something by itself, ps.
    pub(super) fn deadline(&self, at: Side) -> Option<Ps> {
        match self {
            Flow::Call(call) => (at == Side::Client).then(|| call.deadline()),
            Flow::Connection(connection) => connection.deadline(at),
        }
    }

    /// Nothing has moved until an end's deadline. The operation that waits.
    pub(super) fn handle_timeout(&mut self, now: Ps, at: Side) -> Option<u32> {
        match self {
            Flow::Call(call) => {
                call.handle_timeout(now);
                Some(call.op)
            }
            Flow::Connection(connection) => {
                connection.handle_timeout(now, at);
                connection.waits_for(at)
            }
        }
    }

    /// Packets that were sent again, and timeouts.
    pub(super) fn repairs(&self) -> [u64; 2] {
        match self {
            Flow::Call(call) => [call.sent_again, call.timeouts],
            Flow::Connection(connection) => connection.repairs(),
        }
    }
}
