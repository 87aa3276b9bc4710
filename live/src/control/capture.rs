//! A capture of the running loops: each copies the beginning of each frame into chunks of memory
//! that go around between it and a thread, which writes a pcap. No loop waits for anything: what
//! finds no chunk is counted.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use qpmux_engine::Side;
use qpmux_traces::{CaptureError, CaptureWriter};
use serde::{Deserialize, Serialize};

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 1 << 17;
/// Chunks in all: 8 MB.
const CHUNKS: usize = 64;
/// In front of each frame in a chunk: its time, its length, and how much of it follows.
const HEADER: usize = 16;
/// Longest part of a frame that is kept: all of the longest one.
pub const SNAP_MAX: u32 = 9_216;

/// At which interfaces frames are seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureSide {
    /// The clients'.
    Client,
    /// The servers'.
    Server,
    /// Both: what passes is there twice.
    Both,
}

impl CaptureSide {
    fn sees(self, side: Side) -> bool {
        match self {
            CaptureSide::Client => side == Side::Client,
            CaptureSide::Server => side == Side::Server,
            CaptureSide::Both => true,
        }
    }
}

/// What a tap sends.
#[derive(Debug)]
struct Parcel {
    /// Which tap.
    tap: usize,
    /// Frames; `None`: there are no more.
    frames: Option<Vec<u8>>,
    /// How many were not copied so far.
    missed: u64,
}

/// A loop's end of a capture.
#[derive(Debug)]
pub struct Tap {
    number: usize,
    side: CaptureSide,
    snap: usize,
    left: u64,
    missed: u64,
    chunk: Option<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    full: SyncSender<Parcel>,
}

impl Tap {
    /// A frame comes in or goes out on `side`, `time_ns` after the beginning of 1970.
    pub fn see(&mut self, side: Side, time_ns: u64, frame: &[u8]) {
        if self.left == 0 || !self.side.sees(side) {
            return;
        }
        let kept = frame.get(..self.snap).unwrap_or(frame);
        let whole = |chunk: &Vec<u8>| chunk.len() + HEADER + kept.len() > CHUNK_BYTES;
        if self.chunk.as_ref().is_some_and(whole) {
            self.send_chunk();
        }
        if self.chunk.is_none() {
            self.chunk = self.empty.try_recv().ok();
        }
        let Some(chunk) = &mut self.chunk else {
            self.missed += 1;
            return;
        };
        chunk.extend(time_ns.to_ne_bytes());
        chunk.extend((frame.len() as u32).to_ne_bytes());
        chunk.extend((kept.len() as u32).to_ne_bytes());
        chunk.extend_from_slice(kept);
        self.left -= 1;
    }

    /// Hands over what was copied.
    pub fn hand_over(&mut self) {
        if self.chunk.as_ref().is_some_and(|chunk| !chunk.is_empty()) {
            self.send_chunk();
        }
    }

    /// Whether it has as many frames as it wants.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    fn send_chunk(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            // There is a place for every chunk. If the thread is gone, so is who wants them.
            self.send(Some(chunk));
        }
    }

    fn send(&mut self, frames: Option<Vec<u8>>) {
        let _ = self.full.try_send(Parcel { tap: self.number, frames, missed: self.missed });
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.hand_over();
        self.send(None);
    }
}

/// How far a capture is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureStatus {
    /// The file, which is there when the capture has ended.
    pub file: PathBuf,
    /// Frames are still taken or written.
    pub running: bool,
    /// Frames written.
    pub frames: u64,
    /// Frames that could not be kept, as writing did not keep up.
    pub missed: u64,
    /// Why there is no file.
    pub error: Option<String>,
}

/// A capture, as who asked for it sees it.
#[derive(Debug)]
pub struct Capture {
    status: Arc<Mutex<CaptureStatus>>,
}

impl Capture {
    /// Begins a capture of `frames` frames, of the first `snap` bytes of each, into `file`. Each of
    /// the loops, so many as `taps`, is to be given a [`Tap`]. Frames of different loops follow
    /// each other as they are handed over, so that their times may go back by a turn.
    ///
    /// # Errors
    /// If something is there already, or no file can be made.
    pub fn begin(
        file: &Path,
        side: CaptureSide,
        snap: u32,
        frames: u64,
        taps: usize,
    ) -> Result<(Capture, Vec<Box<Tap>>), String> {
        if file.symlink_metadata().is_ok() {
            return Err(format!("{}: is there already", file.display()));
        }
        let writer = CaptureWriter::create(file).map_err(|error| error.to_string())?;
        let snap = snap.min(SNAP_MAX) as usize;
        let (full, parcels) = sync_channel((CHUNKS + 1) * taps);
        let tap = |number| {
            let (give, empty) = sync_channel(CHUNKS);
            for _ in 0..CHUNKS {
                let _ = give.try_send(Vec::with_capacity(CHUNK_BYTES));
            }
            let (full, left) = (full.clone(), frames);
            let (missed, chunk) = (0, None);
            (give, Box::new(Tap { number, side, snap, left, missed, chunk, empty, full }))
        };
        let (give, taps): (Vec<_>, Vec<_>) = (0..taps).map(tap).unzip();
        let begun =
            CaptureStatus { file: file.to_owned(), running: true, ..CaptureStatus::default() };
        let status = Arc::new(Mutex::new(begun));
        let shared = Arc::clone(&status);
        let spawned = thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || write(writer, &parcels, &give, frames, &shared));
        spawned.map_err(|error| format!("no thread for the capture: {error}"))?;
        Ok((Capture { status }, taps))
    }

    /// How far it is.
    #[must_use]
    pub fn status(&self) -> CaptureStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Writes what comes until all taps have ended or there are `most` frames, and goes on taking it
/// if that fails.
fn write(
    writer: CaptureWriter,
    parcels: &Receiver<Parcel>,
    give: &[SyncSender<Vec<u8>>],
    most: u64,
    status: &Mutex<CaptureStatus>,
) {
    let mut writer = Some(writer);
    let tell = |change: &dyn Fn(&mut CaptureStatus)| {
        change(&mut status.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let (mut left, mut open) = (most, give.len());
    let mut missed = vec![0; give.len()];
    for Parcel { tap, frames, missed: by_tap } in parcels {
        if let Some(counted) = missed.get_mut(tap) {
            *counted = by_tap;
        }
        tell(&|status| status.missed = missed.iter().sum());
        let Some(mut chunk) = frames else {
            open = open.saturating_sub(1);
            if open == 0 {
                break;
            }
            continue;
        };
        if let Some(file) = &mut writer {
            match write_chunk(file, &chunk, left) {
                Ok(frames) => {
                    left -= frames;
                    tell(&|status| status.frames += frames);
                }
                Err(error) => {
                    tell(&|status| status.error = Some(error.to_string()));
                    writer = None;
                }
            }
        }
        if left == 0 {
            break;
        }
        chunk.clear();
        let _ = give.get(tap).map(|give| give.try_send(chunk));
    }
    let ended = writer.map(CaptureWriter::finish);
    tell(&|status| {
        if let Some(Err(error)) = &ended {
            status.error = Some(error.to_string());
        }
        status.running = false;
    });
}

/// Writes the frames of a chunk, `most` of them at most. How many.
fn write_chunk(
    writer: &mut CaptureWriter,
    mut chunk: &[u8],
    most: u64,
) -> Result<u64, CaptureError> {
    let mut frames = 0;
    while frames < most
        && let Some((time, rest)) = chunk.split_first_chunk::<8>()
        && let Some((len, rest)) = rest.split_first_chunk::<4>()
        && let Some((kept, rest)) = rest.split_first_chunk::<4>()
        && let Some((frame, rest)) = rest.split_at_checked(u32::from_ne_bytes(*kept) as usize)
    {
        writer.write_packet(u64::from_ne_bytes(*time), u32::from_ne_bytes(*len), frame)?;
        frames += 1;
        chunk = rest;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tap whose frames nobody writes, with so many chunks.
    fn tap(chunks: usize, frames: u64) -> (Tap, SyncSender<Vec<u8>>, Receiver<Parcel>) {
        let (give, empty) = sync_channel(CHUNKS);
        let (full, parcels) = sync_channel(CHUNKS + 1);
        (0..chunks).for_each(|_| give.try_send(Vec::with_capacity(CHUNK_BYTES)).unwrap());
        let (side, snap) = (CaptureSide::Client, 1_000);
        let (number, left, missed, chunk) = (0, frames, 0, None);
        let tap = Tap { number, side, snap, left, missed, chunk, empty, full };
        (tap, give, parcels)
    }

    #[test]
    fn what_does_not_fit_is_counted_and_nothing_grows() {
        let (mut tap, give, parcels) = tap(2, u64::MAX);
        let frame = [7; 2_000];
        let in_chunk = CHUNK_BYTES / (HEADER + 1_000);
        for now in 0..2 * in_chunk + 5 {
            tap.see(Side::Client, now as u64, &frame);
            tap.see(Side::Server, now as u64, &frame);
        }
        assert_eq!(tap.missed, 5);
        let Ok(Parcel { frames: Some(mut chunk), missed: 0, .. }) = parcels.try_recv() else {
            panic!("no chunk")
        };
        assert_eq!(chunk.len(), in_chunk * (HEADER + 1_000));
        assert_eq!(chunk.capacity(), CHUNK_BYTES, "nothing is allocated in the loop");
        // One that comes back is used again.
        chunk.clear();
        give.try_send(chunk).unwrap();
        tap.see(Side::Client, 0, &frame);
        assert_eq!(tap.missed, 5);
        drop(tap);
        // It was full before any was missed.
        assert!(matches!(parcels.try_recv(), Ok(Parcel { frames: Some(_), missed: 0, .. })));
        let Ok(Parcel { frames: Some(last), missed: 5, .. }) = parcels.try_recv() else {
            panic!("no last chunk")
        };
        assert_eq!(last.len(), HEADER + 1_000);
        assert!(matches!(parcels.try_recv(), Ok(Parcel { frames: None, missed: 5, .. })));
    }

    #[test]
    fn it_takes_as_many_as_it_wants() {
        let (mut tap, _give, parcels) = tap(1, 3);
        (0..10).for_each(|now| tap.see(Side::Client, now, &[1; 60]));
        assert!(tap.is_done());
        tap.hand_over();
        let Ok(Parcel { frames: Some(chunk), missed: 0, .. }) = parcels.try_recv() else {
            panic!("no chunk")
        };
        assert_eq!((chunk.len(), tap.missed), (3 * (HEADER + 60), 0));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told() {
        let full = Path::new("/dev/full");
        assert!(Capture::begin(full, CaptureSide::Both, 64, 1, 1).unwrap_err().contains("already"));
        let nowhere = Path::new("/no/such/folder/x.pcap");
        assert!(Capture::begin(nowhere, CaptureSide::Both, 64, 1, 1).is_err());
    }
}
