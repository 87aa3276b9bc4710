//! What is said on the control socket: one JSON document per line each way.
//!
//! A request is `{"command": "report"}`, and what [`Command`] has beside it. An answer has one key:
//! `done` with what was asked for, `refused` with the reason, or `wrong` with what is wrong with
//! the request.

use std::path::PathBuf;

use qpmux_engine::ConnectionReport;
use qpmux_engine::policy::{self, Choices};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::capture::CaptureSide;
use crate::config::{Atomics, Map, Steer};

/// Longest line of a request, in bytes.
pub const LINE_MAX: usize = 8_192;

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// What was counted so far.
    Report,
    /// What the engine does, and what it can be switched to.
    PolicyShow,
    /// To switch; what is not named stays.
    PolicySet {
        /// Which requests are mapped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        map: Option<Map>,
        /// Which are steered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        steer: Option<Steer>,
        /// Whether atomics are replaced.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        atomics: Option<Atomics>,
    },
    /// Connections, a page of them.
    Connections {
        /// The number of the first one.
        #[serde(default)]
        from: u64,
    },
    /// How many connections are translated.
    Drain {
        /// Keep others from it, or let them again; else this stays as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<bool>,
    },
    /// To stop.
    Stop {
        /// Also if connections break.
        #[serde(default)]
        force: bool,
    },
    /// To stop, and have another program go on: on the other host if one stands by there.
    HandOver {
        /// It is on this host, and goes on with the journal.
        #[serde(default)]
        successor: bool,
    },
    /// This host's part of two.
    Standby,
    /// The other host is off for good: this one may go on without it.
    GoOnAlone,
    /// To begin a measurement.
    MeasureStart,
    /// To end it: what was counted meanwhile.
    MeasureStop,
    /// To begin a capture. It ends with the connection that asked for it, if not before.
    CaptureStart {
        /// Where it is to be, on the machine where the program runs: an absolute path.
        file: PathBuf,
        /// At which interfaces.
        side: CaptureSide,
        /// So many bytes of each frame.
        snap: u32,
        /// So many frames.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        packets: Option<u64>,
        /// For so long.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// How far the capture is.
    CaptureStatus,
    /// To end it.
    CaptureStop,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// What was asked for.
    Done(Value),
    /// It is understood, and is not done: why.
    Refused(String),
    /// It is not understood: why.
    Wrong(String),
}

/// What may be switched while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Words {
    /// Which requests are mapped.
    pub map: Map,
    /// Which are steered.
    pub steer: Steer,
    /// Whether atomics are replaced.
    pub atomics: Atomics,
}

impl From<Choices> for Words {
    fn from(choices: Choices) -> Words {
        Words {
            map: match choices.map {
                policy::Map::None => Map::None,
                policy::Map::Writes => Map::Writes,
                policy::Map::All => Map::All,
            },
            steer: match choices.steer {
                policy::Steer::None => Steer::None,
                policy::Steer::Writes => Steer::Writes,
                policy::Steer::All => Steer::All,
            },
            atomics: match choices.atomics {
                policy::Atomics::Keep => Atomics::Keep,
                policy::Atomics::Replace => Atomics::Replace,
            },
        }
    }
}

/// The policy of a running program.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyAnswer {
    /// What it does now.
    pub now: Words,
    /// The most that it can be switched to.
    pub most: Words,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Its address.
    pub ip: std::net::IpAddr,
    /// The number of its queue pair.
    pub qpn: u32,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The requester.
    pub client: End,
    /// The responder.
    pub server: End,
    /// How far it is: watched, translated, out_of_service, ended.
    pub state: String,
    /// Requests that the client waits for.
    pub open: u32,
}

/// A page of connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Those of this page.
    pub connections: Vec<Row>,
    /// Where the next page begins, if there is one.
    pub next: Option<u64>,
}

/// How many connections are translated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainAnswer {
    /// No others are.
    pub draining: bool,
    /// So many are.
    pub translated: usize,
}

impl From<&ConnectionReport> for Row {
    fn from(connection: &ConnectionReport) -> Row {
        let end = |(ip, qpn): (_, qpmux_engine::wire::Qpn)| End { ip, qpn: qpn.value() };
        Row {
            client: end(connection.client),
            server: end(connection.server),
            state: connection.state.name().to_owned(),
            open: connection.open,
        }
    }
}
