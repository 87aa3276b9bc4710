//! The connection to a running program.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::CtlError;
use crate::control::protocol::{Answer, Command};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest answer, in bytes.
const ANSWER_MAX: u64 = 1 << 24;

pub(super) struct Link {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

fn connect(path: &Path) -> io::Result<BufReader<UnixStream>> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

impl Link {
    pub(super) fn open(path: &Path) -> Result<Link, CtlError> {
        let stream =
            connect(path).map_err(|error| CtlError::Link { path: path.to_owned(), error })?;
        Ok(Link { path: path.to_owned(), stream })
    }

    /// The same program, asked anew.
    pub(super) fn reopen(&mut self) -> Result<&mut Link, CtlError> {
        *self = Link::open(&self.path)?;
        Ok(self)
    }

    /// What is answered to a request.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, command: &Command) -> Result<T, CtlError> {
        let answer = self.exchange(command);
        let done = match answer.map_err(|error| self.named(error))? {
            Answer::Done(done) => done,
            Answer::Refused(reason) => return Err(CtlError::Refused(reason)),
            Answer::Wrong(reason) => return Err(CtlError::Wrong(reason)),
        };
        serde_json::from_value(done).map_err(|error| self.named(io::Error::other(error)))
    }

    fn named(&self, error: io::Error) -> CtlError {
        CtlError::Link { path: self.path.clone(), error }
    }

    fn exchange(&mut self, command: &Command) -> io::Result<Answer> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        // One that has too many clients answers before it is asked, and hangs up.
        let sent = self.stream.get_mut().write_all(&line);
        let mut answer = Vec::new();
        let length = (&mut self.stream).take(ANSWER_MAX).read_until(b'\n', &mut answer)?;
        if length == 0 {
            sent?;
            let text = "the program hung up: it has stopped, or waited for too long";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}
