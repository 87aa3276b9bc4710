//! What a host's receive path costs.

use std::collections::BTreeMap;

use crate::nic::{Named, PresetError, Sourced, parameters};

parameters! {
    /// Everything that the way of a packet through a host costs. Times in ns, unless a name says
    /// otherwise.
    HostParams;

    /// From the wire to the ring, and from the application's last action to the wire.
    nic_ns: 0..=1000000,
    /// Rate of the port, Gbit/s.
    link_gbps: 0.001..=1000,
    /// Descriptors of a ring: packets that wait in it at most; what comes beyond is dropped.
    ring_count: 1..=1000000,
    /// CPU time of an interrupt.
    interrupt_ns: 0..=1000000,
    /// From one interrupt of a ring to its next one, at least.
    moderation_ns: 0..=1000000000,
    /// Time of the kernel's driver for a packet.
    driver_ns: 0..=1000000,
    /// Time of the kernel's protocols for a packet, up to the socket.
    protocol_ns: 0..=1000000,
    /// Packets that are polled before the application gets its share of the core.
    budget_count: 1..=1000000,
    /// Share of the core that polling and the application then get in turn.
    slice_ns: 1..=1000000000,
    /// Time to begin with a thread that slept.
    wakeup_ns: 0..=1000000,
    /// Time to take a packet from a socket, without its lock and without copying.
    syscall_ns: 0..=1000000,
    /// Copying to the application, for each byte.
    copy_byte_ns: 0..=1000,
    /// Time to send an answer through the kernel.
    send_ns: 0..=1000000,
    /// Packets that an application which polls takes at a time.
    burst_count: 1..=4096,
    /// Time of a look at a ring.
    poll_ns: 0..=1000000,
    /// Time of the application's own driver for a packet.
    bypass_driver_ns: 0..=1000000,
    /// Time of the application's own protocols for a packet.
    bypass_stack_ns: 0..=1000000,
    /// Time to send an answer without the kernel.
    bypass_send_ns: 0..=1000000,
    /// Time to answer that a request is not served.
    reject_ns: 0..=1000000,
    /// Age of the oldest request in a queue from which on new ones are not served, where they are
    /// shed early.
    shed_ns: 0..=1000000000,
    /// Mean time of the application for a request.
    app_ns: 0..=1000000000,
    /// Share of that which is exponentially distributed; the rest is always the same.
    app_random: 0..=1,
    /// Time under a socket's lock, for a packet put in and for one taken out.
    lock_ns: 0..=1000000,
    /// Time that a contended lock takes from one core to the next.
    lock_handoff_ns: 0..=1000000,
    /// More for each core that waits.
    lock_waiter_ns: 0..=1000000,
    /// Lines of a connection's state that another core used last.
    migrate_ns: 0..=1000000,
    /// Last-level cache, bytes.
    llc_bytes: 65536..=1000000000,
    /// Its ways.
    llc_ways_count: 1..=64,
    /// Ways that adapters write packets to.
    ddio_ways_count: 1..=64,
    /// A line from the last-level cache; part of all times above.
    llc_ns: 0..=10000,
    /// A line from memory.
    dram_ns: 0..=10000,
    /// More for a line of another node.
    remote_ns: 0..=10000,
    /// Lines of a payload that are fetched at a time.
    overlap_count: 1..=64,
}

/// Hosts that are known by name.
const HOSTS: Named =
    Named::new("host", &[("server", include_str!("../../presets/hosts/server.toml"))]);

impl HostParams {
    /// The host of that name.
    ///
    /// # Errors
    /// When there is none, or its file is wrong.
    pub fn load(name: &str) -> Result<Self, PresetError> {
        HOSTS.load(name)?.params(Self::from_sourced)
    }

    /// The values of that name, and where they are from.
    ///
    /// # Errors
    /// When there are none, or their file is wrong.
    pub fn sourced(name: &str) -> Result<BTreeMap<String, Sourced>, PresetError> {
        Ok(HOSTS.load(name)?.sourced)
    }
}
