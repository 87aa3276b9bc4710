//! Who wins a term: a test-and-set on a folder that both hosts reach (Scales, Nelson and
//! Venkitachalam, "The design of a practical system for fault-tolerant virtual machines", 2010,
//! do the same on a shared disk).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::state::State;

/// Claims of this process: each has a file of its own.
static CLAIMS: AtomicU64 = AtomicU64::new(0);

/// A file for each term, with the name of the host that has won it.
#[derive(Debug)]
pub(super) struct Arbiter<'a> {
    folder: &'a Path,
}

impl Arbiter<'_> {
    /// The arbiter of a folder.
    #[must_use]
    pub(super) fn at(folder: &Path) -> Arbiter<'_> {
        Arbiter { folder }
    }

    /// Whether this host wins the term behind that of its state. To ask again changes nothing.
    ///
    /// # Errors
    /// What the file system says: then nothing is known.
    pub(super) fn claim(&self, state: &State) -> io::Result<bool> {
        let term = state.term + 1;
        let path = self.folder.join(format!("{:015x}-term-{term:010}", state.log));
        let (process, claim) = (std::process::id(), CLAIMS.fetch_add(1, Ordering::Relaxed));
        let own: PathBuf = self.folder.join(format!("{}-{process}-{claim}.claim", state.host));
        // The name is to be there as soon as the file is, also after a loss of power.
        let mut file = File::create(&own)?;
        let written = file.write_all(state.host.as_bytes()).and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(&own);
            return Err(error);
        }
        // A link is there whole or not at all. What is returned does not count: over a network a
        // repeat may be told that the link it has made itself is there already.
        let linked = fs::hard_link(&own, &path);
        let _ = fs::remove_file(&own);
        match fs::read_to_string(&path) {
            Ok(winner) if winner.is_empty() => {
                let text = format!("{} does not say who has won", path.display());
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
            Ok(winner) => Ok(winner == state.host),
            Err(error) => Err(linked.err().unwrap_or(error)),
        }
    }
}
