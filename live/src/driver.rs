//! What the loop needs of the machine below it: both sides' ports, and the buffers of frames.

use arrayvec::ArrayVec;
use qpmux_engine::{BURST_MAX, HEADROOM, Nanos, Side};
use serde::Serialize;

/// Bytes that a driver leaves free in front of a frame: the room that the engine is promised,
/// twice, so that a frame which the engine has moved can be offered again.
pub const ROOM_BEFORE: usize = 2 * HEADROOM;

/// Bytes that a driver leaves free behind a frame.
pub const ROOM_AFTER: usize = 2 * HEADROOM;

/// Memory that one frame lies in.
pub trait Buffer {
    /// All of it.
    fn bytes(&self) -> &[u8];

    /// All of it, to be written. Nobody else reads it now.
    fn bytes_mut(&mut self) -> &mut [u8];
}

impl Buffer for Box<[u8]> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// A frame in its buffer, with [`ROOM_BEFORE`] and [`ROOM_AFTER`] around it when it has come in.
///
/// It is moved often, and so is small.
#[derive(Debug)]
pub struct Held<B> {
    /// The buffer.
    pub buffer: B,
    start: u32,
    len: u32,
}

impl<B> Held<B> {
    /// The frame of `len` bytes, without frame check sequence, from `start` on.
    pub fn new(buffer: B, start: usize, len: usize) -> Held<B> {
        // No buffer is as long as 32 bits can say.
        Held { buffer, start: start as u32, len: len as u32 }
    }

    /// Where the frame starts in its buffer, and how many bytes it has.
    #[must_use]
    #[inline]
    pub fn span(&self) -> (usize, usize) {
        (self.start as usize, self.len as usize)
    }

    /// The frame has moved.
    #[inline]
    pub fn set_span(&mut self, (start, len): (usize, usize)) {
        (self.start, self.len) = (start as u32, len as u32);
    }

    /// The same place in another buffer.
    pub fn in_buffer<C>(&self, buffer: C) -> Held<C> {
        Held { buffer, start: self.start, len: self.len }
    }
}

impl<B: Buffer> Held<B> {
    /// The frame.
    pub fn frame(&self) -> &[u8] {
        let (start, len) = self.span();
        self.buffer.bytes().get(start..start + len).unwrap_or(&[])
    }

    /// The frame's bytes, to be written.
    pub fn frame_mut(&mut self) -> &mut [u8] {
        let (start, len) = self.span();
        self.buffer.bytes_mut().get_mut(start..start + len).unwrap_or(&mut [])
    }
}

/// Frames of one side, in the order in which they came in.
#[derive(Debug)]
pub struct Burst<B> {
    /// The frames.
    pub frames: ArrayVec<Held<B>, BURST_MAX>,
    /// When they came in, if that is told by the frames and not by the host's clock. There is one
    /// frame only then.
    pub time: Option<Nanos>,
}

impl<B> Default for Burst<B> {
    fn default() -> Self {
        Burst { frames: ArrayVec::new(), time: None }
    }
}

/// What a port did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PortCounters {
    /// Frames taken in.
    pub received: u64,
    /// Frames lost because no buffer was free.
    pub pool_exhausted: u64,
    /// Requests shed because more came in than the loop could take.
    pub overload: u64,
    /// Frames longer than the configured limit.
    pub receive_too_long: u64,
    /// Errors of the interface while receiving, such as going down.
    pub receive_errors: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames lost because the interface did not keep up.
    pub send_queue_full: u64,
    /// Frames lost because they are longer than the interface's MTU allows.
    pub send_too_long: u64,
    /// Frames lost because the interface is down or gone.
    pub send_link_down: u64,
    /// Frames that the interface refused for another reason.
    pub send_refused: u64,
    /// Frames that could not be addressed to where they go: no neighbour is configured there.
    pub send_no_neighbour: u64,
    /// Frames on a port for both sides that are neither from nor to a server, or for another host.
    pub receive_not_ours: u64,
    /// Frames taken in here that were given to the worker whose server they are from or to.
    pub handed_over: u64,
    /// Frames lost because that worker did not keep up.
    pub hand_over_full: u64,
}

impl PortCounters {
    /// Adds what the same port did for another worker.
    pub fn merge(&mut self, other: &PortCounters) {
        let PortCounters {
            received,
            pool_exhausted,
            receive_too_long,
            receive_errors,
            sent,
            send_queue_full,
            send_too_long,
            send_link_down,
            send_refused,
            send_no_neighbour,
            receive_not_ours,
            handed_over,
            hand_over_full,
            overload,
        } = *other;
        self.received += received;
        self.pool_exhausted += pool_exhausted;
        self.receive_too_long += receive_too_long;
        self.receive_errors += receive_errors;
        self.sent += sent;
        self.send_queue_full += send_queue_full;
        self.send_too_long += send_too_long;
        self.send_link_down += send_link_down;
        self.send_refused += send_refused;
        self.send_no_neighbour += send_no_neighbour;
        self.receive_not_ours += receive_not_ours;
        self.handed_over += handed_over;
        self.hand_over_full += hand_over_full;
        self.overload += overload;
    }
}

/// Both sides' ports, and all buffers that the host has not got. No call waits.
pub trait Driver {
    /// Memory of a frame.
    type Buffer: Buffer;

    /// Frames that it takes in at a time, at most: if it does, more may wait.
    const TAKEN_MAX: usize = BURST_MAX;

    /// Takes frames in, all of one side, in the order in which they came in, and puts them into
    /// `burst`, which is empty. `None` ends a round, in which each port is asked once.
    fn receive(&mut self, burst: &mut Burst<Self::Buffer>) -> Option<Side>;

    /// Whether frames came in, since this was asked last, that are not for this host.
    fn took_more(&mut self) -> bool {
        false
    }

    /// Sends a frame and takes its buffer back.
    fn send(&mut self, side: Side, frame: Held<Self::Buffer>);

    /// Sends a frame whose buffer the host keeps. Until [`Driver::make_exclusive`] nobody may
    /// write there.
    fn send_kept(&mut self, side: Side, frame: &mut Held<Self::Buffer>);

    /// Sends a copy of these bytes.
    fn send_bytes(&mut self, side: Side, frame: &[u8]);

    /// Sees to it that nobody else reads the buffer, if need be by another one with the same
    /// bytes at the same place. `false`: that is not possible now, but will be.
    fn make_exclusive(&mut self, frame: &mut Held<Self::Buffer>) -> bool;

    /// Takes a buffer back.
    fn release(&mut self, buffer: Self::Buffer);

    /// What was given to be sent goes out now, as far as the ports take it.
    fn flush(&mut self);

    /// What the port of that side did, and the frames it missed because the loop was too slow.
    fn counters(&mut self, side: Side) -> (PortCounters, u64);
}

/// The place of a side in a pair: the clients' first.
#[must_use]
pub const fn index(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}
