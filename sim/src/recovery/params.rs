//! What it costs to keep a middlebox's state, and to go on from it.

use std::collections::BTreeMap;

use crate::nic::{Named, PresetError, Sourced, parameters};

parameters! {
    /// Costs of keeping state and of recovering. Times in ns, unless a name says otherwise.
    RecoveryParams;

    /// Time of the core for a frame, without any log.
    frame_ns: 1..=1000000,
    /// Frames that it takes at a time; their records are kept together.
    burst_count: 1..=4096,
    /// Frames that wait for the core at most; what comes beyond is dropped.
    ring_count: 1..=1000000,
    /// Bytes of records of a frame, on average.
    record_bytes: 0..=10000,
    /// Records of a frame, on average.
    records_count: 0..=100,
    /// Bytes of a checkpoint, for each connection.
    state_bytes: 1..=1000000,
    /// To append a burst's records to mapped memory.
    append_ns: 0..=1000000,
    /// More for each byte.
    append_byte_ns: 0..=1000,
    /// The same with a system call.
    write_ns: 0..=1000000,
    /// More for each byte.
    write_byte_ns: 0..=1000,
    /// Until a disk has what was written.
    sync_ns: 0..=1000000000,
    /// More for each byte.
    sync_byte_ns: 0..=1000,
    /// Time of the core to send a burst's records to another host, and to take its word.
    ship_ns: 0..=1000000,
    /// From there until the word has come.
    standby_rtt_ns: 0..=1000000000,
    /// Rate of the link to the other host, Gbit/s.
    standby_gbps: 0.001..=1000,
    /// Until it is known that the process has ended.
    detect_ns: 0..=1000000000,
    /// Until another host may go on for one that is silent.
    lease_ns: 0..=1000000000,
    /// Until a process that was begun is ready to read.
    start_ns: 0..=1000000000,
    /// To read a byte of checkpoint or log.
    read_byte_ns: 0..=1000,
    /// To apply a record.
    apply_ns: 0..=1000000,
    /// To make a checkpoint, for each byte.
    checkpoint_byte_ns: 0..=1000,
    /// Until servers have said how far they are.
    resume_ns: 0..=1000000000,
    /// Mean time between failures, seconds.
    mtbf_s: 0.001..=1000000000,
}

/// Costs that are known by name.
const COSTS: Named = Named::new(
    "way to keep state",
    &[("qpmux", include_str!("../../presets/recovery/qpmux.toml"))],
);

impl RecoveryParams {
    /// The costs of that name.
    ///
    /// # Errors
    /// When there are none, or their file is wrong.
    pub fn load(name: &str) -> Result<Self, PresetError> {
        COSTS.load(name)?.params(Self::from_sourced)
    }

    /// The values of that name, and where they are from.
    ///
    /// # Errors
    /// When there are none, or their file is wrong.
    pub fn sourced(name: &str) -> Result<BTreeMap<String, Sourced>, PresetError> {
        Ok(COSTS.load(name)?.sourced)
    }
}
