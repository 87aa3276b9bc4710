//! Packets that are lost on their way: by chance, and where a recording lost them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use qpmux_engine::Side;
use qpmux_engine::wire::{Classified, classify};
use schemars::JsonSchema;
use serde::Serialize;

use super::recorded::{RecordedLosses, RecordedWire};
use crate::chance::Chance;

/// Which packets a replay with modelled responses loses.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    /// Probability, 0 to 1, that a packet is lost on one leg of its way.
    pub fraction: f64,
    /// Seed of that chance.
    pub seed: u64,
    /// A capture of the other end of the replayed run: what one of the two does not show was lost.
    pub of: Option<PathBuf>,
}

impl Losses {
    /// Whether anything can be lost.
    #[must_use]
    pub fn any(&self) -> bool {
        self.fraction > 0.0 || self.of.is_some()
    }
}

/// The losses of a recording, as they were met again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
pub struct RecordedReport {
    /// Requests that were lost in the recording.
    pub requests: u64,
    /// Answers that were lost in the recording.
    pub answers: u64,
    /// Of these, those that were sent, and lost, again.
    pub met: u64,
    /// Packets that one capture shows arriving, but the other not leaving.
    pub unsent: u64,
}

/// One of the four parts of the way, in one direction: towards or from an endpoint on a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leg {
    pub(super) side: Side,
    /// From the endpoint to the middlebox.
    pub(super) inwards: bool,
}

impl Leg {
    fn name(self) -> &'static str {
        match (self.side, self.inwards) {
            (Side::Client, true) => "client_to_middlebox",
            (Side::Client, false) => "middlebox_to_client",
            (Side::Server, true) => "server_to_middlebox",
            (Side::Server, false) => "middlebox_to_server",
        }
    }

    /// Tells the legs' streams of chance apart, and those of their endpoints.
    fn stream(self, endpoint: u32) -> u64 {
        let leg = u64::from(self.side == Side::Server) << 1 | u64::from(self.inwards);
        leg << 32 | u64::from(endpoint)
    }
}

/// The wires between the middlebox and its endpoints.
pub(super) struct Wires {
    /// Of each leg of each endpoint.
    chance: Chance,
    /// Requests and answers by connection; empty without a recording.
    recorded: Vec<[RecordedWire; 2]>,
    report: Option<RecordedReport>,
    lost: BTreeMap<&'static str, u64>,
}

impl Wires {
    /// Wires that lose what `losses` say; `recorded` is what `losses.of` showed.
    pub(super) fn new(losses: &Losses, recorded: Option<RecordedLosses>) -> Wires {
        let report = recorded.as_ref().map(|recorded| {
            let [requests, answers] = recorded.counts();
            RecordedReport { requests, answers, met: 0, unsent: recorded.unsent }
        });
        Wires {
            chance: Chance::new(losses.fraction, losses.seed),
            recorded: recorded.map(RecordedLosses::into_wires).unwrap_or_default(),
            report,
            lost: BTreeMap::new(),
        }
    }

    /// Whether a packet sent on that leg, of the endpoint with this number, is lost.
    pub(super) fn lose(&mut self, leg: Leg, endpoint: u32, frame: &[u8]) -> bool {
        // Both always count the packet.
        let (again, by_chance) = (self.again(leg, endpoint, frame), self.by_chance(leg, endpoint));
        if again || by_chance {
            *self.lost.entry(leg.name()).or_default() += 1;
        }
        again || by_chance
    }

    fn by_chance(&mut self, leg: Leg, endpoint: u32) -> bool {
        self.chance.loses(leg.stream(endpoint))
    }

    /// Whether the recording lost it. Clients number their packets as they did there, which
    /// servers behind the middlebox do not: so it is lost between clients and middlebox.
    fn again(&mut self, leg: Leg, endpoint: u32, frame: &[u8]) -> bool {
        let Some(wires) = self.recorded.get_mut(endpoint as usize) else { return false };
        let (Side::Client, Ok(Classified::Rc(layout))) = (leg.side, classify(frame)) else {
            return false;
        };
        let [requests, answers] = wires;
        let wire = if leg.inwards { requests } else { answers };
        let lost = wire.loses(layout.psn);
        if let Some(report) = &mut self.report {
            report.met += u64::from(lost);
        }
        lost
    }

    /// Packets lost, by leg.
    pub(super) fn lost(&self) -> &BTreeMap<&'static str, u64> {
        &self.lost
    }

    /// What became of the recording's losses, if there is a recording.
    pub(super) fn recorded(&self) -> Option<RecordedReport> {
        self.report
    }
}
