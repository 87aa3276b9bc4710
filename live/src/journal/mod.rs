//! What outlives the program: the engine's records on a file system, so that another run goes on
//! where one was killed.
//!
//! ```text
//!  engine ── records ──> Writer ──> 0-0000000007.log           a segment that grows
//!                          │ full: another one
//!                          └──────> Packer (a thread) ──> 0-0000000006.checkpoint
//!                                                          all segments up to that, as one
//! ```
//!
//! Records are stored before the frames that they are about go out ([`crate::host`]), in memory
//! that is a file's (`segment.rs`): the kernel has them if the process is killed. A machine that
//! is off loses the last of them; what it wrote before is not gone on with
//! ([`qpmux_engine::journal::Journal::fence`]). A file is a header and chunks, each with a check
//! sum (`chunks.rs`); a torn chunk at the end of the last segment was never acted on; anything
//! else that is wrong is told, and nothing goes on from it ([`recover()`]).

mod chunks;
mod packer;
mod recover;
mod segment;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

use qpmux_engine::journal::JournalError;

use chunks::Header;

pub use chunks::{Form, Stamp};
pub use packer::in_chunks;
pub use recover::{Recovered, apply_chunk, recover};
pub use writer::{Writer, Written};

/// Where a worker's files are, and whose they may be.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder.
    pub folder: PathBuf,
    /// The worker's number.
    pub worker: usize,
    /// The configuration: another's records mean something else.
    pub configuration: Sums,
    /// The form of files that are written.
    pub form: Form,
    /// Bytes of a segment after which another one is begun.
    pub segment_bytes: u64,
}

/// Sums of the configuration, as each form of files has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Of all settings: one that a later program adds changes it.
    pub one: u32,
    /// Of what the configuration says.
    pub two: u32,
}

impl Sums {
    const fn of(&self, form: Form) -> u32 {
        match form {
            Form::One => self.one,
            Form::Two => self.two,
        }
    }
}

/// Why a journal cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The file system refuses.
    #[error("{}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file is not what was written.
    #[error(
        "{}: damaged at byte {at}: {what}. What connections it was about cannot be gone on with; \
         end them, move the folder away and start again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// A file of those that belong together is not there.
    #[error(
        "{}: is not there, but later ones are. End the connections that it was about, move the \
         folder away and start again",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The records are of another configuration, or of a later program.
    #[error("{}: {what}", path.display())]
    Another {
        /// The file.
        path: PathBuf,
        /// Whose it is, and what to do.
        what: String,
    },
    /// The records cannot be.
    #[error("{}: {error}", path.display())]
    Records {
        /// The folder.
        path: PathBuf,
        /// What is wrong with them.
        error: JournalError,
    },
}

impl RecoverError {
    fn io(path: &Path, error: io::Error) -> RecoverError {
        RecoverError::Io { path: path.to_owned(), error }
    }
}

/// A file of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Everything up to the segment of its number.
    Checkpoint,
    Segment,
    /// What is to be the next segment.
    Spare,
}

impl Kind {
    const fn extension(self) -> &'static str {
        match self {
            Kind::Checkpoint => "checkpoint",
            Kind::Segment => "log",
            Kind::Spare => "spare",
        }
    }
}

impl Place {
    /// What a file says of itself that is written here.
    const fn header(&self, stamp: Stamp) -> Header {
        let configuration = self.configuration.of(self.form);
        Header { form: self.form, configuration, stamp: Some(stamp) }
    }

    /// Removes the worker's files.
    ///
    /// # Errors
    /// What the file system says.
    pub fn clear(&self) -> io::Result<()> {
        for kind in [Kind::Segment, Kind::Checkpoint, Kind::Spare] {
            let numbers = self.numbers(kind).map_err(io::Error::other)?;
            numbers.into_iter().try_for_each(|number| recover::remove(&self.path(kind, number)))?;
        }
        Ok(())
    }

    fn path(&self, kind: Kind, number: u64) -> PathBuf {
        self.folder.join(format!("{}-{number:010}.{}", self.worker, kind.extension()))
    }

    /// The numbers of the worker's files of one kind, in their order.
    fn numbers(&self, kind: Kind) -> Result<Vec<u64>, RecoverError> {
        let error = |error| RecoverError::io(&self.folder, error);
        let mut numbers = Vec::new();
        for entry in self.folder.read_dir().map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            let number = name.to_str().and_then(|name| {
                let (worker, rest) = name.split_once('-')?;
                let (number, extension) = rest.split_once('.')?;
                let own = worker == self.worker.to_string() && extension == kind.extension();
                number.parse().ok().filter(|_: &u64| own)
            });
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests;
