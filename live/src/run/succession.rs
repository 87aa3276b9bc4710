//! Whose the journal is: one program's at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tracing::info;

use crate::config::Settings;
use crate::control::crew::translated;
use crate::ctl::{CtlError, hand_over};

/// How long the program before may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often is looked whether it has.
const LOOK: Duration = Duration::from_millis(1);

/// The folder of the journal, if there is one, which is nobody else's meanwhile.
pub(super) fn begin(settings: &Settings) -> anyhow::Result<Option<File>> {
    lock_journal(settings, Duration::ZERO)
}

/// The same from the program that has it, if there is one: it is asked to stop first.
pub(super) fn take_over(settings: &Settings) -> anyhow::Result<Option<File>> {
    let (Some(socket), Some(_)) = (&settings.control.socket, &settings.journal.folder) else {
        bail!("--take-over needs [control] socket and [journal] folder in the configuration");
    };
    match hand_over(socket, true) {
        Ok(waiting) => info!("taking over: {}", translated(waiting)),
        Err(CtlError::Link { error, .. }) if is_nobody(&error) => {
            info!("{}: nobody to take over from", socket.display());
        }
        Err(error) => return Err(error).context("--take-over"),
    }
    lock_journal(settings, PATIENCE)
}

/// No program listens there.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn lock_journal(settings: &Settings, patience: Duration) -> anyhow::Result<Option<File>> {
    let Some(folder) = &settings.journal.folder else { return Ok(None) };
    let named = || format!("journal.folder: {}", folder.display());
    fs::create_dir_all(folder).with_context(named)?;
    let lock = lock(&folder.join("lock"), Instant::now() + patience).with_context(named)?;
    Ok(Some(lock))
}

fn lock(path: &Path, until: Instant) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOOK),
            Err(TryLockError::WouldBlock) => {
                bail!("another program that runs has it: stop it, or start with --take-over")
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}
