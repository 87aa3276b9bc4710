//! Makes one checkpoint of segments, beside the worker.

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use qpmux_engine::Config;
use qpmux_engine::journal::{Journal, Record};
use tracing::error;

use super::chunks::{Stamp, begin, end};
use super::recover::{recover_up_to, remove};
use super::writer::open;
use super::{Kind, Place};

/// Longest record, in bytes.
const RECORD_MAX: usize = qpmux_engine::GENERATED_MAX;
/// Bytes of records in a chunk of a checkpoint.
const CHUNK: usize = 1 << 16;

/// A thread that packs; it ends with this, after what it does.
#[derive(Debug)]
pub(super) struct Packer {
    orders: Option<Sender<u64>>,
    busy: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Packer {
    pub(super) fn start(place: Place, config: Config) -> io::Result<Packer> {
        let (orders, taken) = channel();
        let busy = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&busy);
        let work = move || work(&place, &config, &taken, &told);
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(work)?;
        Ok(Packer { orders: Some(orders), busy, thread: Some(thread) })
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.busy.load(Ordering::Acquire)
    }

    /// All segments up to that number are whole.
    pub(super) fn pack(&self, number: u64) {
        self.busy.store(true, Ordering::Release);
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

fn work(place: &Place, config: &Config, orders: &Receiver<u64>, busy: &AtomicBool) {
    for number in orders {
        let packed = match recover_up_to(place, config, number) {
            Ok(Some(found)) => {
                let stamp = found.stamp.unwrap_or_default();
                write_checkpoint(place, &found.journal, stamp, number)
            }
            Ok(None) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = packed {
            // Nothing is lost: the segments stay, and grow.
            error!("journal: cannot make a checkpoint: {error}");
        }
        busy.store(false, Ordering::Release);
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
/// removes what it is made of.
pub(super) fn write_checkpoint(
    place: &Place,
    known: &Journal,
    stamp: Stamp,
    number: u64,
) -> io::Result<()> {
    let path = place.path(Kind::Checkpoint, number);
    let unfinished = path.with_extension("unfinished");
    let mut file = open(&unfinished, &place.header(stamp))?;
    in_chunks(known, |chunk| file.write_all(chunk))?;
    fs::rename(&unfinished, &path)?;
    for kind in [Kind::Checkpoint, Kind::Segment] {
        let numbers = place.numbers(kind).map_err(io::Error::other)?;
        let past = |covered: &u64| match kind {
            Kind::Checkpoint => *covered < number,
            Kind::Segment => *covered <= number,
        };
        numbers
            .iter()
            .filter(|covered| past(covered))
            .try_for_each(|covered| remove(&place.path(kind, *covered)))?;
    }
    Ok(())
}
