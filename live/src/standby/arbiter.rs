//! Who wins a term: a test-and-set on a folder that both hosts reach (Scales, Nelson and
//! Venkitachalam, "The design of a practical system for fault-tolerant virtual machines", 2010,
//! do the same on a shared disk).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::state::State;

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
        let own: PathBuf = self.folder.join(format!("{}-{}.claim", state.host, std::process::id()));
        fs::write(&own, &state.host)?;
        // A link is there whole or not at all. What is returned does not count: over a network a
        // repeat may be told that the link it has made itself is there already.
        let linked = fs::hard_link(&own, &path);
        let _ = fs::remove_file(&own);
        match fs::read_to_string(&path) {
            Ok(winner) => Ok(winner == state.host),
            Err(error) => Err(linked.err().unwrap_or(error)),
        }
    }
}
