//! What a host knows of itself after a restart: which log it has, and whether it may speak.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::journal::Stamp;

/// The file, in the journal's folder.
const NAME: &str = "pair.json";

/// What a host may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    /// It has the log, and forwards frames.
    Speaker,
    /// It has a copy at most, which a restart loses.
    Standby,
}

/// What is kept of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// A name that no other host has.
    pub host: String,
    /// The log's number.
    pub log: u64,
    /// How many hosts have spoken, one after the other. Who wins the next term may speak; nothing
    /// else changes it.
    pub term: u64,
    /// What this host is in that term.
    pub role: Role,
    /// Nobody else can speak in this term or win the next one: no standby has been level.
    pub alone: bool,
}

impl State {
    /// Of a host that has never had one.
    ///
    /// # Errors
    /// If the kernel gives no random numbers.
    pub(super) fn fresh(role: Role) -> io::Result<State> {
        let (host, log) = (random()?, number(&random()?));
        Ok(match role {
            Role::Speaker => State { host, log, term: 1, role, alone: true },
            // Of any log.
            Role::Standby => State { host, log: 0, term: 0, role, alone: false },
        })
    }

    /// What a folder has; `None`: nothing yet.
    ///
    /// # Errors
    /// When it cannot be read, or is no such thing.
    pub(super) fn load(folder: &Path) -> io::Result<Option<State>> {
        match fs::read(folder.join(NAME)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps it, also if the machine loses its power right afterwards.
    ///
    /// # Errors
    /// What the file system says: then the state before is still kept.
    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        let unfinished = folder.join("pair.unfinished");
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&unfinished, folder.join(NAME))?;
        File::open(folder)?.sync_all()
    }

    /// The stamp of files that this host writes.
    ///
    /// # Errors
    /// If the kernel does not tell its start.
    pub(super) fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp { log: self.log, term: self.term, boot: boot()? })
    }
}

/// A stamp of a log that begins, and has no standby.
///
/// # Errors
/// If the kernel gives no random numbers.
pub fn new_log() -> io::Result<Stamp> {
    Ok(Stamp { log: number(&random()?), term: 1, boot: boot()? })
}

/// The number of this start of the machine.
///
/// # Errors
/// If the kernel does not tell.
pub fn boot() -> io::Result<u64> {
    Ok(number(&fs::read_to_string("/proc/sys/kernel/random/boot_id")?))
}

fn random() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(text.trim().to_owned())
}

/// The last 60 bits of a UUID: all but two of them are random.
fn number(uuid: &str) -> u64 {
    let digits = uuid.chars().rev().filter_map(|digit| digit.to_digit(16));
    digits.take(15).fold(0, |number, digit| number << 4 | u64::from(digit))
}
