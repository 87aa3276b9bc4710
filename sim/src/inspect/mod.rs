//! `qpmux inspect`: what is in a capture.
//!
//! The capture is read once, packet by packet. Memory depends on the number of flows and keys
//! and is bounded by [`InspectOptions`], not on the capture's length.

mod collect;
mod flows;
mod keys;
mod report;
mod text;

#[cfg(test)]
mod tests;

use std::path::Path;

use qpmux_traces::CaptureReader;

use crate::connections_file::KnownConnections;
pub use keys::NamedProfile;
pub use report::{
    CmReport, ConnectionReport, InspectReport, KeysReport, LimitsReport, UnpairedReport, Verbs,
};

/// Packets between two calls of the progress function.
const PROGRESS_PACKETS: u64 = 1024;

/// What to look for, and how much of it to keep.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    /// Where requests carry the application's key; `None` counts no keys.
    pub profile: Option<NamedProfile>,
    /// Flows (directions) to keep apart; about 1.2 kB each, allocated at once. Packets of more
    /// flows count in the totals only.
    pub flows_max: u32,
    /// Distinct keys to keep; 8 to 16 bytes each.
    pub keys_max: usize,
    /// Connections that are known beforehand.
    pub connections: KnownConnections,
    /// Whether connections may be learnt from the connection manager.
    pub learn_by_cm: bool,
    /// Whether connections may be learnt from UDP source ports.
    pub learn_by_source_port: bool,
    /// Whether connections may be learnt from sequence numbers.
    pub learn_by_psn: bool,
}

impl Default for InspectOptions {
    fn default() -> Self {
        Self {
            profile: NamedProfile::load("kv").ok(),
            flows_max: 32_768,
            keys_max: 1 << 20,
            connections: KnownConnections::default(),
            learn_by_cm: true,
            learn_by_source_port: true,
            learn_by_psn: true,
        }
    }
}

/// Reads the capture at `path` (`-` is standard input) and reports what is in it. `progress` is
/// told now and then how many bytes of the file have been read.
///
/// # Errors
/// Where the capture cannot be read, or a connection known beforehand cannot be. A capture
/// that breaks off in its last record is no error but reported.
pub fn run(
    path: &Path,
    options: &InspectOptions,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<InspectReport> {
    let mut reader = CaptureReader::open(path)?;
    let mut collector = collect::Collector::new(options)?;
    while let Some(packet) = reader.next_packet()? {
        let number = packet.number;
        collector.take(packet.timestamp_ns, packet.original_len, packet.data);
        if number.is_multiple_of(PROGRESS_PACKETS) {
            progress(reader.bytes_read());
        }
    }
    progress(reader.bytes_read());
    Ok(collector.finish(reader.truncated_tail().is_some()))
}
