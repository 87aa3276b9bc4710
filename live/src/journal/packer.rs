//! Makes one checkpoint of segments, beside the worker.

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use qpmux_engine::Config;
use qpmux_engine::journal::{Journal, Record};
use tracing::error;

use super::chunks::{Stamp, begin, end};
use super::recover::{recover_up_to, remove};
use super::segment::{Segment, open};
use super::{Kind, Place};

/// Longest record, in bytes.
const RECORD_MAX: usize = qpmux_engine::GENERATED_MAX;
/// Bytes of records in a chunk of a checkpoint.
const CHUNK: usize = 1 << 16;

/// The last checkpoint.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// The last segment in it.
    number: AtomicU64,
    bytes: AtomicU64,
}

/// A thread that packs; it ends with this, after what it does.
#[derive(Debug)]
pub(super) struct Packer {
    orders: Option<Sender<u64>>,
    spares: Receiver<Segment>,
    packed: Arc<Packed>,
    thread: Option<JoinHandle<()>>,
}

impl Packer {
    pub(super) fn start(place: Place, config: Config, stamp: Stamp) -> io::Result<Packer> {
        let (orders, taken) = channel();
        let (spare, spares) = channel();
        let packed = Arc::new(Packed::default());
        let tells = Arc::clone(&packed);
        let work = move || {
            give_spare(&place, stamp, &spare);
            while let Ok(number) = taken.recv() {
                // Of several that wait, the last stands for all.
                let number = taken.try_iter().last().unwrap_or(number);
                pack(&place, &config, number, &tells);
                give_spare(&place, stamp, &spare);
            }
        };
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(work)?;
        Ok(Packer { orders: Some(orders), spares, packed, thread: Some(thread) })
    }

    /// There is a checkpoint up to that segment, of so many bytes.
    pub(super) fn begin_at(&self, number: u64, bytes: u64) {
        self.packed.number.store(number, Ordering::Relaxed);
        self.packed.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Bytes of the last checkpoint, and the last segment in it.
    pub(super) fn packed(&self) -> (u64, u64) {
        (self.packed.bytes.load(Ordering::Relaxed), self.packed.number.load(Ordering::Relaxed))
    }

    /// A segment that is ready, if there is one: its file is that of [`Kind::Spare`].
    pub(super) fn spare(&self) -> Option<Segment> {
        self.spares.try_recv().ok()
    }

    /// All segments up to that number are whole.
    pub(super) fn pack(&self, number: u64) {
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(number).is_ok());
        debug_assert!(sent, "the thread lives as long as this");
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn pack(place: &Place, config: &Config, number: u64, packed: &Packed) {
    let bytes = match recover_up_to(place, config, number) {
        Ok(Some(found)) => {
            let stamp = found.stamp.unwrap_or_default();
            write_checkpoint(place, &found.journal, stamp, number)
        }
        Ok(None) => return,
        Err(error) => Err(io::Error::other(error)),
    };
    match bytes {
        Ok(bytes) => {
            packed.bytes.store(bytes, Ordering::Relaxed);
            packed.number.store(number, Ordering::Relaxed);
        }
        // Nothing is lost: the segments stay.
        Err(error) => error!("journal: cannot make a checkpoint: {error}"),
    }
}

/// Makes a segment ready, so that the worker need not. Without one, it has to, and says why it
/// cannot.
fn give_spare(place: &Place, stamp: Stamp, spares: &Sender<Segment>) {
    let path = place.path(Kind::Spare, 0);
    if path.exists() {
        return;
    }
    if let Ok(mut spare) = Segment::begin(&path, &place.header(stamp), place.segment_bytes) {
        spare.touch();
        // If the worker is gone, so is the need.
        let _ = spares.send(spare);
    }
}

/// What is known, as chunks.
///
/// # Errors
/// That of `take`, which is not called any more then.
pub fn in_chunks(known: &Journal, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let (mut chunk, mut done) = (Vec::with_capacity(2 * CHUNK), Ok(()));
    begin(&mut chunk);
    known.checkpoint(|record: &Record| {
        let mut bytes = [0; RECORD_MAX];
        let len = record.encode(&mut bytes).unwrap_or(0);
        chunk.extend_from_slice(bytes.get(..len).unwrap_or(&[]));
        if chunk.len() >= CHUNK && done.is_ok() {
            end(&mut chunk);
            done = take(&chunk);
            begin(&mut chunk);
        }
    });
    done?;
    if end(&mut chunk) { take(&chunk) } else { Ok(()) }
}

/// Writes what is known up to a segment as a checkpoint, which is there whole or not at all, and
/// removes what it is made of. How many bytes it has.
pub(super) fn write_checkpoint(
    place: &Place,
    known: &Journal,
    stamp: Stamp,
    number: u64,
) -> io::Result<u64> {
    let path = place.path(Kind::Checkpoint, number);
    let unfinished = path.with_extension("unfinished");
    let mut file = open(&unfinished, &place.header(stamp))?;
    in_chunks(known, |chunk| file.write_all(chunk))?;
    let bytes = file.metadata()?.len();
    fs::rename(&unfinished, &path)?;
    for kind in [Kind::Checkpoint, Kind::Segment] {
        let numbers = place.numbers(kind).map_err(io::Error::other)?;
        // This checkpoint stays.
        let past = |covered: &u64| *covered < number + u64::from(kind == Kind::Segment);
        numbers
            .iter()
            .filter(|covered| past(covered))
            .try_for_each(|covered| remove(&place.path(kind, *covered)))?;
    }
    Ok(bytes)
}
