//! What happened on the legs, kept small and told only when a run has failed.

use std::fmt;

use qpmux_engine::wire::{Classified, Layout, Opcode, Syndrome, classify};

use crate::faults::{Fate, Leg};

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Said {
    opcode: Opcode,
    psn: u32,
    ack_request: bool,
    payload_len: u16,
    /// Syndrome and MSN.
    aeth: Option<(Syndrome, u32)>,
}

/// A packet that was sent on a leg.
#[derive(Clone, Copy, Debug)]
struct Entry {
    time: u64,
    leg: Leg,
    connection: u32,
    fate: Fate,
    /// `None` for what is no RC packet.
    packet: Option<Said>,
}

/// The packets of one run in the order in which they were sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    entries: Vec<Entry>,
}

impl Trace {
    pub(super) fn note(&mut self, time: u64, leg: Leg, connection: u32, fate: Fate, frame: &[u8]) {
        let describe = |layout: Layout| Said {
            opcode: layout.opcode,
            psn: layout.psn.value(),
            ack_request: layout.ack_request,
            payload_len: layout.payload_len,
            aeth: layout.aeth(frame).map(|aeth| (aeth.syndrome, aeth.msn.value())),
        };
        let packet = match classify(frame) {
            Ok(Classified::Rc(layout)) => Some(describe(layout)),
            _ => None,
        };
        self.entries.push(Entry { time, leg, connection, fate, packet });
    }

    /// The last `count` packets that were sent until `end`.
    pub(super) fn tail(&self, end: u64, count: usize) -> String {
        let until = self.entries.partition_point(|entry| entry.time <= end);
        let from = until.saturating_sub(count);
        self.entries[from..until].iter().map(|entry| format!("{entry}\n")).collect()
    }
}

impl Trace {
    /// The packets around the first one on any leg of a connection that another run has not, in
    /// both runs.
    pub(super) fn difference(&self, other: &Trace, count: usize) -> String {
        let connections = self.entries.iter().map(|entry| entry.connection + 1).max().unwrap_or(0);
        let legs = |i| Leg::ALL.map(|leg| (leg, i));
        let first = (0..connections).flat_map(legs).filter_map(|(leg, i)| {
            let mine = |entry: &&Entry| entry.connection == i && entry.leg == leg;
            let mut one = self.entries.iter().filter(mine);
            let mut two = other.entries.iter().filter(mine);
            loop {
                match (one.next(), two.next()) {
                    (None, None) => return None,
                    (Some(a), Some(b)) if a.time == b.time && a.packet == b.packet => {}
                    (a, b) => return a.into_iter().chain(b).map(|entry| entry.time).min(),
                }
            }
        });
        let Some(time) = first.min() else { return String::new() };
        let (one, two) = (self.tail(time, count), other.tail(time, count));
        format!("first differs at {time} ns; on 1 shard:\n{one}\non several:\n{two}")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { time, leg, connection, fate, packet } = self;
        write!(f, "{time:>9} ns  {leg:<11} {connection}  ")?;
        match packet {
            None => write!(f, "{:<36}", "not an RC packet")?,
            Some(Said { opcode, psn, ack_request, payload_len, aeth }) => {
                let a = if *ack_request { "A" } else { "-" };
                write!(f, "{:<20} psn {psn:>8} {a} {payload_len:>4} B", opcode.name())?;
                if let Some((syndrome, msn)) = aeth {
                    write!(f, "  {syndrome:?} msn {msn}")?;
                }
            }
        }
        match fate {
            Fate::Deliver => Ok(()),
            Fate::Drop => write!(f, "  LOST"),
            Fate::Double(later) => write!(f, "  TWICE, again {later} ns later"),
            Fate::Delay(by) => write!(f, "  LATE by {by} ns"),
            Fate::Corrupt(_) => write!(f, "  CORRUPT"),
            Fate::Mark => write!(f, "  MARKED"),
            Fate::Noise(number) => write!(f, "  and NOISE {number}"),
        }
    }
}
