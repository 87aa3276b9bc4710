//! A capture whose workload is run, known by its bytes.

use std::fmt;
use std::fs::File;
use std::path::Path;

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::connections_file::KnownConnections;
use crate::replay::{Progress, Script, read_script};
use crate::text::hex;

/// The workload of a capture.
pub struct Capture {
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// What its clients asked for.
    pub script: Script,
}

impl Capture {
    /// Reads a capture; `progress` is told which pass it is and how many bytes are read.
    ///
    /// # Errors
    /// When it cannot be read, or has no connection that can be run again.
    pub fn read(path: &Path, progress: &mut dyn FnMut(u8, u64)) -> anyhow::Result<Self> {
        let script = read_script(path, &KnownConnections::default(), &[], &mut |step| {
            if let Progress::Read(pass, bytes) = step {
                progress(pass, bytes);
            }
        })?;
        Ok(Self { sha256: sha256(path)?, script })
    }

    /// Messages of all its connections.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.script.connections.iter().map(|connection| connection.verbs.len()).sum()
    }
}

/// SHA-256 of a file, hexadecimal.
fn sha256(path: &Path) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    let mut read = || std::io::copy(&mut File::open(path)?, &mut hash);
    read().with_context(|| format!("cannot read {} again", path.display()))?;
    Ok(hex(&hash.finalize()))
}

impl fmt::Debug for Capture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Capture({})", self.sha256)
    }
}
