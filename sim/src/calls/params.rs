//! What software costs that sends, receives and serves calls, as numbers with their source.

use std::collections::BTreeMap;

use crate::event::{Ps, ps};
use crate::nic::{Named, PresetError, Sourced, parameters};

parameters! {
    /// Everything that software between an application and its adapter costs. Times in ns, unless
    /// a name says otherwise.
    SoftwareParams;

    /// CPU time of a call into the library or the kernel to send a message.
    send_call_ns: 0..=100000,
    /// CPU time of a call into the library or the kernel to take a message.
    receive_call_ns: 0..=100000,
    /// CPU time of the protocol for a packet that is sent.
    send_packet_ns: 0..=100000,
    /// CPU time of telling the adapter of descriptors, once for all that it is told of at a time.
    doorbell_ns: 0..=10000,
    /// Descriptors that the adapter is told of at a time at most, while there is something else to
    /// do; 1: of each by itself.
    batch_count: 1..=256,
    /// CPU time of the protocol for a packet that has come, its descriptor included.
    receive_packet_ns: 0..=100000,
    /// CPU time for each byte of a message that is copied before it is sent.
    send_byte_ns: 0..=100,
    /// CPU time for each byte of a message that is copied after it has come.
    receive_byte_ns: 0..=100,
    /// How long an adapter waits for further packets before it interrupts.
    interrupt_delay_ns: 0..=1000000,
    /// Packets that it does not wait any longer with.
    interrupt_frames_count: 1..=4096,
    /// CPU time of an interrupt, until its handler takes packets; 0 for software that polls.
    interrupt_ns: 0..=100000,
    /// Time until a thread runs that has slept; 0 for one that polls.
    wake_ns: 0..=100000,
    /// CPU time of the server's own work on a call.
    serve_ns: 0..=1000000,
    /// The same for each place in memory that it looks at one after the other.
    access_ns: 0..=100000,
    /// Descriptors for packets that come, of each thread; what finds none is dropped.
    receive_count: 1..=1000000,
    /// Bytes of headers in a packet beyond those of Ethernet, IPv4 and UDP.
    header_bytes: 0..=1024,
    /// Bytes of a call that are neither a key's place nor a value: of a READ's request, and of a
    /// WRITE's beyond its value.
    request_bytes: 1..=4096,
    /// Bytes of an answer that has no value.
    answer_bytes: 1..=4096,
}

/// Software that is known by name.
const PRESETS: Named = Named::new(
    "software",
    &[
        ("user-level", include_str!("../../presets/software/user-level.toml")),
        ("linux", include_str!("../../presets/software/linux.toml")),
        ("ramcloud", include_str!("../../presets/software/ramcloud.toml")),
        ("adapter", include_str!("../../presets/software/adapter.toml")),
    ],
);

impl SoftwareParams {
    /// The software of that name.
    ///
    /// # Errors
    /// When there is none, or its file is wrong.
    pub fn load(name: &str) -> Result<Self, PresetError> {
        PRESETS.load(name)?.params(Self::from_sourced)
    }

    /// The values of that name, and where they are from.
    ///
    /// # Errors
    /// When there are none, or their file is wrong.
    pub fn sourced(name: &str) -> Result<BTreeMap<String, Sourced>, PresetError> {
        Ok(PRESETS.load(name)?.sourced)
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PRESETS.names()
    }

    /// Bytes of request and answer of a call that reads or writes so many bytes.
    pub(super) fn call_bytes(&self, bytes: u64, is_write: bool) -> [u64; 2] {
        let (request, answer) = (self.request_bytes as u64, self.answer_bytes as u64);
        match is_write {
            true => [request + bytes, answer],
            false => [request, bytes.max(1)],
        }
    }

    /// Time to send a message, but for its packets.
    pub(super) fn send_message(&self, bytes: u64) -> Ps {
        ps(self.send_call_ns + self.send_byte_ns * bytes as f64)
    }

    /// Time to take a message whose packets have come.
    pub(super) fn take_message(&self, bytes: u64) -> Ps {
        ps(self.receive_call_ns + self.receive_byte_ns * bytes as f64)
    }

    /// Whether threads are told of packets by interrupts.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt_ns > 0.0 || self.interrupt_delay_ns > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::SoftwareParams;

    #[test]
    fn all_presets_can_be_read() {
        for name in SoftwareParams::names() {
            SoftwareParams::load(name).unwrap();
        }
    }
}
