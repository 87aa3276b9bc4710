//! Passes over a recording, by the processor's time of this thread.

use std::hint::black_box;

use qpmux_engine::wire::{Classified, classify};
use qpmux_engine::{BURST_MAX, Engine, Frame, Out};

use super::super::{clock_ns, thread_ns};
use super::FrameHome;
use super::recording::{Call, Input, OUT_CAPACITY, Recording, STRIDE, call, lend, token_of};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Something that is done with every call.
pub(super) trait Work {
    /// Does it. `slots` begin with the buffers of the first call's frames.
    fn run(&mut self, recording: &Recording, calls: &[Call], slots: &mut [u8]);
}

/// An engine at work.
pub(super) struct Engines {
    pub(super) engine: Engine,
    out: Out,
    /// Sum of what a host looks at in each action.
    sum: u64,
}

impl Engines {
    pub(super) fn new(engine: Engine) -> Engines {
        Engines { engine, out: Out::new(OUT_CAPACITY), sum: 0 }
    }

    /// What comes before the measurement.
    pub(super) fn warm_up(&mut self, recording: &Recording) {
        let calls = &recording.calls[..recording.warm_up];
        let mut slots = vec![0; BURST_MAX * STRIDE];
        for one in calls.chunks(1) {
            recording.fill(one, &mut slots);
            self.calls(recording, one, &mut slots);
        }
        self.sum = 0;
    }

    /// Whether the actions were those of the recording.
    pub(super) fn is_as_recorded(&self, recording: &Recording) -> bool {
        let expected = recording.sum_of(recording.warm_up..recording.calls.len());
        self.sum == expected && *self.engine.counters() == recording.counters
    }

    fn calls(&mut self, recording: &Recording, calls: &[Call], slots: &mut [u8]) {
        let mut rest = slots;
        for one in calls {
            let (now, later) = rest.split_at_mut(one.count * STRIDE);
            rest = later;
            call(&mut self.engine, one, &mut lend(now, recording, one), &mut self.out);
            let tokens = self.out.actions().iter().map(|action| u64::from(token_of(action)) + 1);
            self.sum += tokens.sum::<u64>();
            self.out.clear();
        }
    }
}

impl Work for Engines {
    // A name of its own, by which instructions are counted.
    #[inline(never)]
    fn run(&mut self, recording: &Recording, calls: &[Call], slots: &mut [u8]) {
        self.calls(recording, calls, slots);
    }
}

/// What an engine cannot cost less than.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Floor {
    /// Reads the first cache line of each frame.
    FirstLine,
    /// Reads those of the first two and the last line that the frame has: headers, key, ICRC.
    UsedLines,
    /// Finds out what each frame is, as the engine does.
    Parse,
    /// Reads the headers and the ICRC, changes as many words as a new address, queue pair and PSN
    /// are, and writes all that back.
    Patch,
}

impl Floor {
    pub(super) const ALL: [Floor; 4] =
        [Floor::FirstLine, Floor::UsedLines, Floor::Parse, Floor::Patch];

    pub(super) fn name(self) -> &'static str {
        match self {
            Floor::FirstLine => "touch the first line",
            Floor::UsedLines => "touch all lines used",
            Floor::Parse => "parse",
            Floor::Patch => "read, patch, write",
        }
    }

    fn one(self, frame: &mut Frame<'_>) -> u64 {
        let bytes = frame.bytes_mut();
        let at = |at: usize| bytes.get(at).copied().map_or(0, u64::from);
        match self {
            Floor::FirstLine => at(0),
            Floor::UsedLines => at(0) + at(LINE.min(bytes.len() - 1)) + at(bytes.len() - 1),
            Floor::Parse => match classify(bytes) {
                Ok(Classified::Rc(layout)) => layout.psn.value().into(),
                _ => 0,
            },
            Floor::Patch => patch(bytes),
        }
    }
}

/// Replaces four words of the headers, and the ICRC.
pub(in crate::bench) fn patch(bytes: &mut [u8]) -> u64 {
    const WORDS: [usize; 4] = [26, 30, 46, 50];
    let mut change = 0;
    for at in WORDS {
        let Some(word) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) else { return 0 };
        let old = u32::from_le_bytes(*word);
        *word = old.rotate_left(8).to_le_bytes();
        change ^= old ^ old.rotate_left(8);
    }
    if let Some(icrc) = bytes.last_chunk_mut() {
        *icrc = (u32::from_le_bytes(*icrc) ^ change).to_le_bytes();
    }
    change.into()
}

impl Work for Floor {
    fn run(&mut self, recording: &Recording, calls: &[Call], slots: &mut [u8]) {
        let (mut sum, mut rest) = (0, slots);
        for one in calls {
            let (now, later) = rest.split_at_mut(one.count * STRIDE);
            rest = later;
            let mut frames = lend(now, recording, one);
            sum += frames.iter_mut().map(|frame| self.one(frame)).sum::<u64>();
        }
        black_box(sum);
    }
}

/// Does the work on all frames that are measured, and gives the nanoseconds per frame. `check`
/// says whether some frames are as they must be afterwards.
pub(super) fn pass(
    recording: &Recording,
    home: FrameHome,
    slots: &mut Vec<u8>,
    work: &mut dyn Work,
    check: &dyn Fn(&[Call], &[u8]) -> bool,
) -> Result<f64, String> {
    let calls = &recording.calls[recording.warm_up..];
    let clock = clock_ns();
    let (mut spent, mut rest) = (0.0, calls);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(calls_within(rest, home.frames()));
        rest = later;
        let needed = recording.frames_of(now) * STRIDE + LINE;
        if slots.len() < needed {
            slots.resize(needed, 0);
        }
        // Frames start at the start of a cache line.
        let aligned = slots.as_ptr().align_offset(LINE).min(LINE);
        let slots = slots.get_mut(aligned..).unwrap_or_default();
        recording.fill(now, slots);
        let begin = thread_ns();
        work.run(recording, now, slots);
        spent += thread_ns() - begin - clock;
        if !check(now, slots) {
            return Err("frames are not as they were when they were recorded".to_owned());
        }
    }
    let frames: usize =
        calls.iter().filter(|one| matches!(one.input, Input::Burst(_))).map(|one| one.count).sum();
    Ok(spent / frames as f64)
}

/// How many of the first calls have no more frames together than that; at least one.
fn calls_within(calls: &[Call], frames: usize) -> usize {
    let mut left = frames;
    let fits = |call: &&Call| {
        let fits = call.count <= left;
        left = left.saturating_sub(call.count);
        fits
    };
    calls.iter().take_while(fits).count().max(1)
}
