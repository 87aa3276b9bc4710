//! Captures through the engine, beside loops that do less with the same records.
//!
//! What is measured is the processor time of the thread, the kernel's for reading and writing
//! included, from opening the capture to having the results in place. A capture is read once, from
//! wherever the kernel has it, so there is no measurement with frames in a core's caches. Results
//! go to a new file each time, in the folder for temporary files (`TMPDIR`).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use pcap_file::pcap::{PcapReader, PcapWriter, RawPcapPacket};
use qpmux_traces::{CaptureReader, CaptureWriter};
use qpmux_workloads::clover::Variant;
use qpmux_workloads::keys::{KeyDistribution, Ycsb};
use schemars::JsonSchema;
use serde::Serialize;

use super::engine::patch;
use super::{FloorCost, median, thread_ns};
use crate::replay::{Outputs, Setup, replay_captured};
use crate::synth::{SynthConfig, synthesize};

/// What is measured.
#[derive(Clone, Debug, Default)]
pub struct ReplayPlan {
    /// A capture; without one, Clover's traffic is made.
    pub capture: Option<PathBuf>,
    /// Packets that are made, about.
    pub packets: u64,
    /// Measurements of each thing.
    pub rounds: usize,
}

/// What a packet costs.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ReplayBench {
    /// Packets of the capture.
    pub packets: u64,
    /// Bytes of the capture.
    pub bytes: u64,
    /// Bytes of a frame, on average.
    pub mean_bytes: f64,
    /// Loops without the engine. The second one is what replays are compared with.
    pub floors: Vec<FloorCost>,
    /// `qpmux replay --map none --responses captured`, by what it writes.
    pub replays: Vec<ReplayCost>,
}

/// What a replay costs.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ReplayCost {
    /// What it writes.
    pub what: &'static str,
    /// Nanoseconds of processor time for each packet.
    pub ns: f64,
    /// Least and most over that.
    pub spread: [f64; 2],
    /// Packets per second of processor time, over those of the loop that reads, patches and
    /// writes.
    pub ratio: f64,
}

/// Measures. `progress` is told measurements done, and of how many.
///
/// # Errors
/// When the capture cannot be read or made, or results cannot be written.
pub fn replay(
    plan: &ReplayPlan,
    progress: &mut dyn FnMut(u64, u64),
) -> anyhow::Result<ReplayBench> {
    let folder = tempfile::tempdir().context("no folder for temporary files")?;
    let capture = folder.path().join("capture.pcap");
    let (packets, frame_bytes) = prepare(plan, &capture)?;
    let things: Vec<Thing> = FLOORS.into_iter().chain(REPLAYS).collect();
    let total = (things.len() * plan.rounds.max(1)) as u64;
    let mut costs = vec![Vec::new(); things.len()];
    for round in 0..plan.rounds.max(1) {
        for (at, (thing, costs)) in things.iter().zip(&mut costs).enumerate() {
            let results = folder.path().join("results");
            fs::create_dir(&results)?;
            let begin = thread_ns();
            let found = (thing.run)(&capture, &results)?;
            costs.push((thread_ns() - begin) / packets.max(1) as f64);
            fs::remove_dir_all(&results)?;
            anyhow::ensure!(found == packets, "{}: {found} of {packets} packets", thing.what);
            progress((round * things.len() + at + 1) as u64, total);
        }
    }
    let cost = |(thing, costs): (&Thing, Vec<f64>)| {
        let (ns, spread) = median(costs);
        FloorCost { what: thing.what, ns, spread }
    };
    let mut floors: Vec<FloorCost> = things.iter().zip(costs).map(cost).collect();
    let compared = floors[COMPARED].ns;
    let replays = floors.split_off(FLOORS.len());
    let replay =
        |FloorCost { what, ns, spread }| ReplayCost { what, ns, spread, ratio: compared / ns };
    Ok(ReplayBench {
        packets,
        bytes: fs::metadata(&capture)?.len(),
        mean_bytes: frame_bytes as f64 / packets.max(1) as f64,
        floors,
        replays: replays.into_iter().map(replay).collect(),
    })
}

/// Something that is done with a capture. It gets a folder for its results, and says how many
/// packets there were.
struct Thing {
    what: &'static str,
    run: fn(&Path, &Path) -> anyhow::Result<u64>,
}

/// Which of the floors replays are compared with.
const COMPARED: usize = 1;
const FLOORS: [Thing; 4] = [
    Thing { what: "read", run: |capture, _| Ok(walk(capture, None)?.0) },
    Thing {
        what: "read, patch, write",
        run: |capture, results| Ok(walk(capture, Some(&results.join("out.pcap")))?.0),
    },
    // As replays do, so that a result that has its name is there whole after a loss of power.
    Thing {
        what: "read, patch, write, sync",
        run: |capture, results| {
            let (packets, output) = walk(capture, Some(&results.join("out.pcap")))?;
            output.map_or(Ok(()), |output| output.sync_all())?;
            Ok(packets)
        },
    },
    Thing { what: "the same through pcap-file", run: through_pcap_file },
];
const REPLAYS: [Thing; 3] = [
    Thing { what: "nothing", run: |capture, _| replayed(capture, Outputs::default()) },
    Thing {
        what: "what leaves (--egress)",
        run: |capture, results| {
            let egress = &results.join("out.pcap");
            replayed(capture, Outputs { egress: Some(egress), ..Outputs::default() })
        },
    },
    Thing {
        what: "three captures (--out)",
        run: |capture, results| {
            replayed(capture, Outputs { dir: Some(results), ..Outputs::default() })
        },
    },
];

/// Puts a capture in place, in the form in which the loops below expect it. Gives its packets and
/// the bytes of their frames.
fn prepare(plan: &ReplayPlan, place: &Path) -> anyhow::Result<(u64, u64)> {
    let Some(given) = &plan.capture else {
        let report = synthesize(&clover(plan.packets), place, &mut |_| ())?;
        return Ok((report.packets, report.frame_bytes));
    };
    let mut reader = CaptureReader::open(given)?;
    let mut writer = CaptureWriter::create(place)?;
    let mut bytes = 0;
    while let Some(packet) = reader.next_packet()? {
        bytes += packet.data.len() as u64;
        writer.write_packet(packet.timestamp_ns, packet.original_len, packet.data)?;
    }
    Ok((writer.finish()?, bytes))
}

/// Half reads, half updates, hardly any contention: about four packets an operation.
fn clover(packets: u64) -> SynthConfig {
    SynthConfig {
        workload: Ycsb::A,
        threads: 64,
        machines: 1,
        keys: (packets / 32).clamp(1, 100_000),
        distribution: KeyDistribution::Uniform,
        operations: packets.div_ceil(4),
        value_len: 1_000,
        seed: 1,
        variant: Variant::Fork,
        coroutines: false,
        metadata: false,
    }
}

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 256 * 1024;
const FILE_HEADER_BYTES: usize = 24;
const RECORD_HEADER_BYTES: usize = 16;

/// Reads a classic little-endian capture, chunk by chunk and there record by record; with an
/// output, each frame is patched where it is, and the chunk written. Gives the packets, and what
/// was written.
fn walk(capture: &Path, output: Option<&Path>) -> io::Result<(u64, Option<File>)> {
    let mut input = File::open(capture)?;
    let mut output = output.map(File::create).transpose()?;
    let mut chunk = vec![0; CHUNK_BYTES + qpmux_traces::FRAME_BYTES_MAX as usize];
    let (mut at, mut end, mut packets) = (FILE_HEADER_BYTES, 0, 0);
    loop {
        let read = input.read(&mut chunk[end..end + CHUNK_BYTES])?;
        end += read;
        while let Some(frame) = next_frame(&mut chunk[..end], at) {
            if output.is_some() {
                patch(frame);
            } else {
                std::hint::black_box(frame.first());
            }
            at += RECORD_HEADER_BYTES + frame.len();
            packets += 1;
        }
        if let Some(output) = &mut output {
            output.write_all(&chunk[..at.min(end)])?;
        }
        if read == 0 {
            return Ok((packets, output));
        }
        chunk.copy_within(at.min(end)..end, 0);
        (at, end) = (at.saturating_sub(end), end.saturating_sub(at));
    }
}

/// The frame of the record that begins there, if all of it is there.
#[inline]
fn next_frame(chunk: &mut [u8], at: usize) -> Option<&mut [u8]> {
    let header: &[u8; RECORD_HEADER_BYTES] = chunk.get(at..)?.first_chunk()?;
    let len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    chunk.get_mut(at + RECORD_HEADER_BYTES..)?.get_mut(..len)
}

/// Reads, patches and writes through the reader and the writer of the crate `pcap-file`.
fn through_pcap_file(capture: &Path, results: &Path) -> anyhow::Result<u64> {
    let mut reader = PcapReader::new(File::open(capture)?)?;
    let output = File::create(results.join("out.pcap"))?;
    let output = BufWriter::with_capacity(CHUNK_BYTES, output);
    let mut writer = PcapWriter::with_header(output, reader.header())?;
    let (mut frame, mut packets) = (Vec::new(), 0);
    while let Some(packet) = reader.next_raw_packet() {
        let packet = packet?;
        frame.clear();
        frame.extend_from_slice(&packet.data);
        patch(&mut frame);
        writer.write_raw_packet(&RawPcapPacket { data: Cow::Borrowed(&frame), ..packet })?;
        packets += 1;
    }
    writer.into_writer().flush()?;
    Ok(packets)
}

fn replayed(capture: &Path, outputs: Outputs<'_>) -> anyhow::Result<u64> {
    let setup = Setup::default();
    Ok(replay_captured(capture, outputs, &setup, &mut |_| ())?.events)
}

/// For people.
#[must_use]
pub fn render_text(bench: &ReplayBench) -> String {
    let mut text = format!(
        "{} packets, {} bytes; frames of {:.1} bytes\n\n\
         loop or replay, and what it writes   ns/packet   spread         ratio\n",
        bench.packets, bench.bytes, bench.mean_bytes
    );
    let compared = bench.floors.get(COMPARED).map_or(f64::NAN, |floor| floor.ns);
    let mut line = |kind: &str, what: &str, ns: f64, spread: [f64; 2]| {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{kind:<8}{what:<28}{ns:>10.1}   {:.2} to {:.2}   {:>5.2}",
            spread[0],
            spread[1],
            compared / ns
        );
    };
    for floor in &bench.floors {
        line("loop", floor.what, floor.ns, floor.spread);
    }
    for replay in &bench.replays {
        line("replay", replay.what, replay.ns, replay.spread);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A measurement fails where any of its loops sees another number of packets.
    #[test]
    fn all_loops_see_all_packets() {
        let plan = ReplayPlan { packets: 5_000, rounds: 1, ..ReplayPlan::default() };
        let bench = replay(&plan, &mut |_, _| ()).unwrap();
        assert!(bench.packets >= 5_000 && bench.bytes > bench.packets * 16, "{bench:?}");
        assert_eq!((bench.floors.len(), bench.replays.len()), (FLOORS.len(), REPLAYS.len()));
    }
}
