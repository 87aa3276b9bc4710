//! A driver over two ports that copy each frame in and out: packet sockets, and ports in memory.

use std::io;

use qpmux_engine::{BURST_MAX, Side};
use tracing::warn;

use crate::driver::{Burst, Driver, Held, PortCounters, ROOM_AFTER, ROOM_BEFORE, index};
use crate::port::{Port, Received, SendFailure};

/// The order of a round. Answers first: they give buffers back.
const ROUND: [Side; 2] = [Side::Server, Side::Client];

/// Two ports and the free buffers.
#[derive(Debug)]
pub struct Copying<P> {
    ports: [P; 2],
    counters: [PortCounters; 2],
    free: Vec<Box<[u8]>>,
    /// How far the round is.
    asked: usize,
}

impl<P: Port> Copying<P> {
    /// The ports of the clients' and the servers' side, with buffers for `frames` that the host
    /// has and a burst that it has not taken yet.
    pub fn new(client: P, server: P, frames: u32, frame_len_max: usize) -> Copying<P> {
        let len = ROOM_BEFORE + frame_len_max + ROOM_AFTER;
        let buffer = |_| vec![0; len].into_boxed_slice();
        let free = (0..frames as usize + BURST_MAX).map(buffer).collect();
        let counters = [PortCounters::default(); 2];
        Copying { ports: [client, server], counters, free, asked: 0 }
    }

    /// The ports: the client's, then the server's.
    #[must_use]
    pub fn ports(&self) -> &[P; 2] {
        &self.ports
    }

    fn count_received(&mut self, side: Side, received: io::Result<Received>) -> Received {
        let counters = &mut self.counters[index(side)];
        match received {
            Ok(Received::Frame { .. }) => counters.received += 1,
            Ok(Received::TooLong) => {
                counters.receive_too_long += 1;
                if counters.receive_too_long == 1 {
                    warn!("{side:?} side: a frame is longer than limits.frame_len_max");
                }
            }
            Ok(Received::Nothing) => {}
            Err(ref error) => {
                counters.receive_errors += 1;
                warn!("{side:?} side: cannot receive: {error}");
            }
        }
        received.unwrap_or(Received::Nothing)
    }

    fn count_sent(&mut self, side: Side, sent: Result<(), SendFailure>) {
        let counters = &mut self.counters[index(side)];
        let Err(failure) = sent else {
            counters.sent += 1;
            return;
        };
        let count = match failure {
            SendFailure::QueueFull => &mut counters.send_queue_full,
            SendFailure::TooLong => &mut counters.send_too_long,
            SendFailure::LinkDown => &mut counters.send_link_down,
            SendFailure::Other => &mut counters.send_refused,
        };
        *count += 1;
        if *count == 1 {
            warn!("{side:?} side: frames are lost: {}", failure.name());
        }
    }
}

impl<P: Port> Driver for Copying<P> {
    type Buffer = Box<[u8]>;

    fn receive(&mut self, burst: &mut Burst<Box<[u8]>>) -> Option<Side> {
        let Some(&side) = ROUND.get(self.asked) else {
            self.asked = 0;
            return None;
        };
        self.asked += 1;
        for _ in 0..BURST_MAX {
            let Some(mut buffer) = self.free.pop() else { break };
            let received = self.ports[index(side)].receive(&mut buffer);
            match self.count_received(side, received) {
                Received::Frame { start, len } => {
                    burst.frames.push(Held::new(buffer, start, len));
                }
                Received::TooLong => self.free.push(buffer),
                Received::Nothing => {
                    self.free.push(buffer);
                    break;
                }
            }
        }
        Some(side)
    }

    fn send(&mut self, side: Side, mut frame: Held<Box<[u8]>>) {
        self.send_kept(side, &mut frame);
        self.release(frame.buffer);
    }

    fn send_kept(&mut self, side: Side, frame: &mut Held<Box<[u8]>>) {
        self.send_bytes(side, frame.frame());
    }

    fn send_bytes(&mut self, side: Side, frame: &[u8]) {
        let sent = self.ports[index(side)].send(frame);
        self.count_sent(side, sent);
    }

    /// What was sent was copied.
    fn make_exclusive(&mut self, _: &mut Held<Box<[u8]>>) -> bool {
        true
    }

    fn release(&mut self, buffer: Box<[u8]>) {
        self.free.push(buffer);
    }

    /// Everything is sent at once.
    fn flush(&mut self) {}

    fn counters(&mut self, side: Side) -> (PortCounters, u64) {
        (self.counters[index(side)], self.ports[index(side)].missed())
    }
}
