//! Both sides of two hosts over real connections, and what a wrong word would do.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use qpmux_engine::journal::{Journal, Record};
use qpmux_engine::{ClientId, Config};

use super::message::{Hello, Message, VERSION};
use super::state::{Role, State};
use crate::config::Settings;
use crate::journal::in_chunks;

mod arbiter;
mod messages;
mod receiver;
mod sessions;
mod states;

/// Longer than any test may last: what waits for that does not pass.
const FOR_EVER: Duration = Duration::from_secs(60);

/// What a speaker says of itself.
fn hello(lease: Duration) -> Hello {
    Hello {
        version: VERSION,
        log: 7,
        term: 1,
        meaning: 5,
        workers: 1,
        lease_ns: lease.as_nanos() as u64,
        lag_bytes: 0,
        probe: false,
    }
}

/// A host of that name.
fn state(host: &str, role: Role, term: u64) -> State {
    State { host: host.to_owned(), log: 7, term, role, alone: false }
}

/// Both ends of a connection.
fn connection() -> [TcpStream; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ends = [one, listener.accept().unwrap().0];
    for end in &ends {
        end.set_nodelay(true).unwrap();
        end.set_read_timeout(Some(FOR_EVER)).unwrap();
        end.set_write_timeout(Some(FOR_EVER)).unwrap();
    }
    ends
}

fn say(stream: &mut TcpStream, messages: &[Message]) {
    messages.iter().for_each(|message| message.write(stream).unwrap());
}

fn hear(stream: &mut TcpStream) -> Message {
    Message::read(stream).unwrap()
}

fn stopped(client: u32) -> Record {
    Record::Stopped { client: ClientId(client) }
}

fn encoded(record: &Record) -> Vec<u8> {
    let mut bytes = vec![0; record.len()];
    record.encode(&mut bytes).unwrap();
    bytes
}

/// A journal in which these clients have stopped.
fn with(clients: impl IntoIterator<Item = u32>) -> Journal {
    let mut journal = Journal::new(&Config::default());
    clients.into_iter().for_each(|client| journal.apply(&stopped(client)).unwrap());
    journal
}

/// A chunk that says so.
fn chunk(clients: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let mut all = Vec::new();
    let take = |chunk: &[u8]| {
        all.push(chunk.to_vec());
        Ok(())
    };
    in_chunks(&with(clients), take).unwrap();
    let [chunk] = &mut all[..] else { panic!("{} chunks", all.len()) };
    std::mem::take(chunk)
}

/// Two chunks about these clients, one behind the other.
fn records(each: [std::ops::Range<u32>; 2]) -> [Message; 2] {
    let mut position = 0;
    each.map(|clients| {
        let chunk = chunk(clients);
        let from = position;
        position += chunk.len() as u64;
        Message::Records { worker: 0, position: from, chunk }
    })
}

fn settings(folder: &Path, more: &str) -> Settings {
    let text = format!(
        "[client]\ninterface = 'one'\n[server]\ninterface = 'two'\n\
         [journal]\nfolder = '{}'\nsegment_bytes = 65536\n\
         [standby]\nlisten = '127.0.0.1:1'\npeer = '127.0.0.1:2'\nbegins = 'standing-by'\n{more}",
        folder.display()
    );
    Settings::parse(&text).unwrap()
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let from = Instant::now();
    while !is_so() {
        assert!(from.elapsed() < FOR_EVER, "{what}: never");
        std::thread::sleep(Duration::from_millis(1));
    }
}
