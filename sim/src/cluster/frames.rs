//! Frames on their way.

use qpmux_engine::wire::{Classified, Ecn, Layout, classify};

use crate::faults;

/// Longest frame: a payload of 4,096 bytes and headers.
const FRAME_BYTES: usize = 4_352;

/// A frame's place in [`Frames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameId(u32);

/// A frame, and what is known of it.
#[derive(Debug)]
pub(crate) struct Frame {
    bytes: Box<[u8]>,
    len: usize,
    /// What it is, if it is a packet of a connection.
    pub(crate) layout: Option<Layout>,
    /// It is as an end of its connection has written it; a mark of congestion is no damage.
    is_intact: bool,
    /// The queue pair that it is for.
    pub(crate) to: u32,
    /// The operation that it is part of.
    pub(crate) op: Option<u32>,
}

impl Frame {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// What it is, if that needs no further check.
    pub(crate) fn intact(&self) -> Option<&Layout> {
        self.layout.as_ref().filter(|_| self.is_intact)
    }

    /// Whether it answers a request.
    pub(crate) fn is_answer(&self) -> bool {
        self.layout.as_ref().is_some_and(|layout| layout.opcode.is_response())
    }
}

/// All frames on their way. Their buffers are used again and again.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    slots: Vec<Frame>,
    free: Vec<u32>,
}

impl Frames {
    /// Lets an end of a connection write a frame and say how long it is; `None` if there is none to
    /// write.
    pub(crate) fn write(
        &mut self,
        to: u32,
        op: Option<u32>,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<FrameId> {
        let id = self.take();
        let frame = &mut self.slots[id as usize];
        let Some(len) = write(&mut frame.bytes) else {
            self.free.push(id);
            return None;
        };
        (frame.len, frame.to, frame.op) = (len, to, op);
        frame.layout = match classify(frame.bytes()) {
            Ok(Classified::Rc(layout)) => Some(layout),
            _ => None,
        };
        frame.is_intact = true;
        Some(FrameId(id))
    }

    /// A frame of which only is known what it is; `None` if it is too long.
    pub(crate) fn copy(
        &mut self,
        to: u32,
        op: Option<u32>,
        bytes: &[u8],
        layout: Option<Layout>,
    ) -> Option<FrameId> {
        let id = self.take();
        let frame = &mut self.slots[id as usize];
        let Some(buffer) = frame.bytes.get_mut(..bytes.len()) else {
            self.free.push(id);
            return None;
        };
        buffer.copy_from_slice(bytes);
        (frame.len, frame.to, frame.op) = (bytes.len(), to, op);
        (frame.layout, frame.is_intact) = (layout, false);
        Some(FrameId(id))
    }

    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let bytes = vec![0; FRAME_BYTES].into_boxed_slice();
            let nothing = Frame { bytes, len: 0, layout: None, is_intact: false, to: 0, op: None };
            self.slots.push(nothing);
            self.slots.len() as u32 - 1
        })
    }

    /// The frame.
    pub(crate) fn get(&self, id: FrameId) -> &Frame {
        &self.slots[id.0 as usize]
    }

    /// The frame, to say which operation it is part of.
    pub(crate) fn get_mut(&mut self, id: FrameId) -> &mut Frame {
        &mut self.slots[id.0 as usize]
    }

    /// The frame says "congestion experienced" from now on.
    pub(crate) fn mark(&mut self, id: FrameId) {
        let frame = &mut self.slots[id.0 as usize];
        faults::mark(&mut frame.bytes[..frame.len]);
        if let Some(layout) = &mut frame.layout {
            layout.ecn = Ecn::Ce;
        }
    }

    /// Two frames change places.
    pub(crate) fn swap(&mut self, a: FrameId, b: FrameId) {
        self.slots.swap(a.0 as usize, b.0 as usize);
    }

    /// Lends the room of a frame, which has nothing meanwhile, while others are made.
    pub(crate) fn lend(&mut self, id: FrameId) -> Box<[u8]> {
        std::mem::take(&mut self.slots[id.0 as usize].bytes)
    }

    /// Takes it back.
    pub(crate) fn take_back(&mut self, id: FrameId, bytes: Box<[u8]>) {
        self.slots[id.0 as usize].bytes = bytes;
    }

    /// Nobody needs it any more.
    pub(crate) fn give_back(&mut self, id: FrameId) {
        self.free.push(id.0);
    }

    /// Frames on their way.
    pub(crate) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
