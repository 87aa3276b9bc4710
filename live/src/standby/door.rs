//! Where the other host comes in: a thread that answers callers, and lets speakers in while this
//! host stands by.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{debug, warn};

use super::message::{Answer, Hello, Message};
use super::standing::refusal;
use super::state::{Role, State};

/// How long a caller may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// A speaker that may ship its records.
#[derive(Debug)]
pub(super) struct Caller {
    /// Where it says them.
    pub stream: TcpStream,
    /// Who it is.
    pub hello: Hello,
}

/// What callers are told.
#[derive(Clone, Debug)]
pub(super) struct Sign(Arc<Mutex<State>>);

impl Sign {
    pub(super) fn of(state: &State) -> Sign {
        Sign(Arc::new(Mutex::new(state.clone())))
    }

    /// This host's part has changed.
    pub(super) fn show(&self, state: &State) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(state);
    }

    pub(super) fn read(&self) -> State {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Listens from now on, for as long as the process lives. `own` is what this host would say.
///
/// # Errors
/// If the address cannot be listened at.
pub(super) fn open(
    listen: SocketAddr,
    state: &State,
    own: Hello,
) -> io::Result<(Sign, Receiver<Caller>)> {
    let listener = TcpListener::bind(listen)?;
    let sign = Sign::of(state);
    let (send, callers) = channel();
    let shown = sign.clone();
    let name = thread::Builder::new().name("other host".to_owned());
    name.spawn(move || attend(&listener, &shown, &own, &send))?;
    Ok((sign, callers))
}

fn attend(listener: &TcpListener, sign: &Sign, own: &Hello, callers: &Sender<Caller>) {
    for stream in listener.incoming() {
        match stream.and_then(|stream| let_in(stream, &sign.read(), own)) {
            Ok(Some(caller)) => {
                if callers.send(caller).is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(error) => debug!("standby: a caller that is none: {error}"),
        }
    }
}

/// Answers a caller. It is let in if it is a speaker that ships its records here.
pub(super) fn let_in(
    mut stream: TcpStream,
    state: &State,
    own: &Hello,
) -> io::Result<Option<Caller>> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Message::Hello(hello) = Message::read(&mut stream)? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not say who it is"));
    };
    let answer = match (state.role, refusal(own, &hello, state)) {
        (Role::Speaker, _) => Answer::Speaking { log: state.log, term: state.term },
        (Role::Standby, Some(reason)) => {
            warn!("standby: the other host is refused: {reason}");
            Answer::Refused(reason)
        }
        (Role::Standby, None) => Answer::StandingBy,
    };
    let enters = answer == Answer::StandingBy && !hello.probe;
    Message::Answer(answer).write(&mut stream)?;
    Ok(enters.then_some(Caller { stream, hello }))
}
