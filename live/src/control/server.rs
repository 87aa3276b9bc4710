//! The thread of the control socket: it takes lines from a few clients, and gives their answers.
//! No client can make it wait or keep much: lines, clients and silence have limits, and while an
//! answer is not taken, nothing more is read from who asked for it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{debug, warn};

use super::clerk::{Caller, Clerk};
use super::crew::Crew;
use super::mail::Bell;
use super::protocol::{Answer, LINE_MAX};
use super::socket::ControlSocket;

/// What clients may take of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients at a time; others are told to come again.
    pub clients: usize,
    /// How long a client may be silent, or leave an answer lying.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { clients: 8, idle: Duration::from_secs(60) }
    }
}

/// How often it looks after what has a time, while there is any.
const BUSY: Duration = Duration::from_millis(50);
/// How often it looks after silent clients.
const QUIET: Duration = Duration::from_secs(1);
/// How long the last answers may take when it stops.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long the rest of a capture may take when it stops.
const LAST_FRAMES: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Client {
    caller: Caller,
    stream: UnixStream,
    /// What came of a line.
    input: Vec<u8>,
    /// What is left of an answer.
    output: Vec<u8>,
    /// When it last asked for something, or took something.
    last: Instant,
    /// It says nothing more.
    finished: bool,
}

/// What became of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
}

impl Client {
    fn new(caller: Caller, stream: UnixStream) -> Client {
        let (input, output) = (Vec::new(), Vec::new());
        Client { caller, stream, input, output, last: Instant::now(), finished: false }
    }

    /// What to wait for.
    fn wants(&self) -> PollFlags {
        if self.output.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLOUT }
    }

    /// Takes what has come, answers a line if there is one, and sends what can be sent.
    fn serve(&mut self, clerk: &mut Clerk) -> Fate {
        if self.output.is_empty() && !self.finished && self.read().is_err() {
            return Fate::Goes;
        }
        // One line in a turn: others have their turn, too.
        if self.output.is_empty() && self.answer_line(clerk) == Fate::Goes {
            return Fate::Goes;
        }
        if self.write().is_err() || self.finished && self.output.is_empty() {
            return Fate::Goes;
        }
        Fate::Stays
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4_096];
        while self.input.len() <= LINE_MAX && !self.input.contains(&b'\n') {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.finished = true;
                    return Ok(());
                }
                Ok(len) => self.input.extend_from_slice(buffer.get(..len).unwrap_or(&[])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn answer_line(&mut self, clerk: &mut Clerk) -> Fate {
        let end = self.input.iter().take(LINE_MAX + 1).position(|byte| *byte == b'\n');
        let answer = match end {
            Some(end) => {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                self.last = Instant::now();
                clerk.answer(self.caller, &line)
            }
            None if self.input.len() > LINE_MAX => {
                // Where the next line would begin is not known.
                self.finished = true;
                Answer::Wrong(format!("a line of more than {LINE_MAX} bytes"))
            }
            None => return Fate::Stays,
        };
        match serde_json::to_vec(&answer) {
            Ok(bytes) => self.output = bytes,
            Err(_) => return Fate::Goes,
        }
        self.output.push(b'\n');
        Fate::Stays
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => {
                    self.output.drain(..len);
                    self.last = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a line has come that is not answered.
    fn has_line(&self) -> bool {
        self.output.is_empty() && self.input.contains(&b'\n')
    }
}

/// The running thread; it ends with this, after what it answered last was taken.
#[derive(Debug)]
pub struct ControlServer {
    quit: Bell,
    thread: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Starts the thread. Signals that it is not to get must be blocked already.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn start(socket: ControlSocket, crew: Crew, limits: Limits) -> io::Result<ControlServer> {
        let quit = Bell::new()?;
        let bell = quit.clone();
        let mut server =
            Server { socket, clerk: Clerk::new(crew), limits, clients: vec![], next: 0 };
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            if let Err(error) = server.run(&bell) {
                warn!("the control socket is not served any more: {error}");
            }
        })?;
        Ok(ControlServer { quit, thread: Some(thread) })
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.quit.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Server {
    socket: ControlSocket,
    clerk: Clerk,
    limits: Limits,
    clients: Vec<Client>,
    next: Caller,
}

impl Server {
    fn run(&mut self, quit: &Bell) -> io::Result<()> {
        loop {
            let ready = self.wait(quit.as_fd())?;
            let Some((comes, served)) = ready else { break };
            self.serve(&served);
            self.clerk.attend();
            if comes {
                self.accept();
            }
        }
        let until = Instant::now() + LAST_WORDS;
        while Instant::now() < until && self.clients.iter().any(|each| !each.output.is_empty()) {
            self.clients.retain_mut(|each| each.write().is_ok());
            thread::sleep(Duration::from_millis(1));
        }
        // The loop has ended it.
        self.clerk.finish(LAST_FRAMES);
        Ok(())
    }

    /// Waits for something to do: whether somebody comes, and which clients have something. `None`
    /// if it is to stop.
    fn wait(&self, quit: BorrowedFd<'_>) -> io::Result<Option<(bool, Vec<bool>)>> {
        let listener = self.socket.listener().as_fd();
        let mut files = vec![PollFd::new(quit, PollFlags::POLLIN)];
        files.push(PollFd::new(listener, PollFlags::POLLIN));
        files
            .extend(self.clients.iter().map(|each| PollFd::new(each.stream.as_fd(), each.wants())));
        let at_most = match (self.clients.iter().any(Client::has_line), self.clerk.is_busy()) {
            (true, _) => Duration::ZERO,
            (false, true) => BUSY,
            (false, false) => QUIET,
        };
        let at_most = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::ZERO);
        match poll(&mut files, at_most) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = files
            .iter()
            .map(|file| file.revents().is_some_and(|found| !found.is_empty()))
            .collect();
        let &[quits, comes, ref served @ ..] = ready.as_slice() else { return Ok(None) };
        Ok((!quits).then(|| (comes, served.to_vec())))
    }

    fn serve(&mut self, ready: &[bool]) {
        let mut gone = Vec::new();
        let mut at = 0;
        let (clerk, idle) = (&mut self.clerk, self.limits.idle);
        self.clients.retain_mut(|client| {
            let has_something = ready.get(at).is_some_and(|ready| *ready) || client.has_line();
            at += 1;
            let mut fate = Fate::Stays;
            if has_something {
                fate = client.serve(clerk);
            }
            if client.last.elapsed() > idle {
                debug!("control: a client was silent for too long");
                fate = Fate::Goes;
            }
            if fate == Fate::Goes {
                gone.push(client.caller);
            }
            fate == Fate::Stays
        });
        for caller in gone {
            self.clerk.forget(caller);
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.socket.listener().accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let mut client = Client::new(self.next, stream);
            self.next += 1;
            if self.clients.len() < self.limits.clients {
                self.clients.push(client);
                continue;
            }
            let busy = Answer::Refused("too many clients at a time: try again".to_owned());
            client.output = serde_json::to_vec(&busy).unwrap_or_default();
            client.output.push(b'\n');
            // A fresh connection has room for a line.
            let _ = client.write();
        }
    }
}
