//! A host that stands by: what it takes, what it refuses, and when it goes on.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use qpmux_engine::Side;
use tempfile::TempDir;

use super::super::arbiter::Arbiter;
use super::super::door::{Caller, Sign};
use super::super::standing::{Copy, End, Standing};
use super::super::status::{Stage, Status};
use super::*;
use crate::announcement::Address;

/// A host that stands by, one call at a time.
struct Host {
    _folder: TempDir,
    settings: Settings,
    state: State,
    sign: Sign,
    callers: Receiver<Caller>,
    status: Status,
    addresses: BTreeSet<Address>,
}

impl Host {
    fn new(more: &str) -> (Host, Sender<Caller>) {
        let folder = TempDir::new().unwrap();
        let settings = settings(folder.path(), more);
        let state = State { log: 0, ..state("two", Role::Standby, 0) };
        let (sign, (callers, taken)) = (Sign::of(&state), channel());
        let (status, addresses) = (Status::default(), BTreeSet::new());
        let host =
            Host { _folder: folder, settings, state, sign, callers: taken, status, addresses };
        (host, callers)
    }

    fn standing(&mut self) -> Standing<'_> {
        let Host { settings, state, sign, callers, status, addresses, .. } = self;
        Standing { settings, state, sign, callers, status, addresses }
    }

    /// Hears all that a speaker says, which hangs up then. Why no more was taken.
    fn takes(&mut self, hello: Hello, said: &[u8], level: &mut Option<Copy>) -> End {
        let [mut one, stream] = connection();
        one.write_all(said).unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        let end = self.standing().take(Caller { stream, hello }, level);
        drop(one);
        end
    }
}

/// A lease that does not end.
const LONG: Duration = Duration::from_secs(600);

fn bytes(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| message.write(&mut bytes).unwrap());
    bytes
}

fn lost(end: End) -> io::Error {
    match end {
        End::Lost(why) => why,
        End::Final => panic!("it was the last word"),
    }
}

fn address(last: u8) -> Address {
    Address { told: Side::Client, mac: [2, 0, 0, 0, 0, last], tag: None }
}

fn moved(message: &Message, by: u64) -> Message {
    let Message::Records { worker, position, chunk } = message.clone() else { panic!() };
    Message::Records { worker, position: position + by, chunk }
}

/// What a speaker may not say, and why not.
fn wrongs() -> Vec<(Vec<Message>, &'static str)> {
    let [one, two] = records([0..3, 3..6]);
    let of = |worker: u32, chunk: Vec<u8>| Message::Records { worker, position: 0, chunk };
    let mut damaged = chunk(0..3);
    *damaged.last_mut().unwrap() ^= 1;
    let mut long = chunk(0..3);
    long[0] += 1;
    let cut = chunk(0..3)[..20].to_vec();
    let two_chunks = [chunk(0..3), chunk(3..6)].concat();
    // A whole chunk with half a record.
    let mut half = Vec::new();
    let record = &encoded(&stopped(1))[..1];
    half.extend(1_u32.to_le_bytes());
    half.extend((!1_u32).to_le_bytes());
    half.extend(crc32fast::hash(record).to_le_bytes());
    half.extend(record);
    vec![
        (vec![two.clone()], "records of worker 0 from byte"),
        (vec![one.clone(), one.clone()], "records of worker 0 from byte 0, not from"),
        (vec![two.clone(), one.clone()], "records of worker 0 from byte"),
        (vec![one.clone(), moved(&two, 1)], "records of worker 0 from byte"),
        (vec![moved(&one, u64::MAX)], "records of worker 0 from byte"),
        (vec![of(1, chunk(0..3))], "records of worker 1, which there is not"),
        (vec![of(u32::MAX, chunk(0..3))], "which there is not"),
        (vec![of(0, damaged)], "at byte 0: the check sum of a chunk is wrong"),
        (vec![of(0, long)], "at byte 0: a chunk has a length that no chunk has"),
        (vec![of(0, cut)], "at byte 0: it is not one whole chunk"),
        (vec![of(0, Vec::new())], "at byte 0: it is not one whole chunk"),
        (vec![of(0, two_chunks)], "at byte 0: it is not one whole chunk"),
        (vec![of(0, half)], "records of worker 0 at byte 0"),
        (vec![one.clone(), Message::Final], "the speaker ended before all was here"),
        (vec![one.clone(), Message::Hello(hello(LONG))], "says what no speaker says"),
        (vec![one.clone(), Message::LevelAnswer(None)], "says what no speaker says"),
        (vec![one.clone(), Message::Taken { beat: 1, positions: vec![0] }], "no speaker says"),
    ]
}

#[test]
fn records_that_are_not_the_next_ones_are_refused_and_nothing_is_level() {
    let (mut host, _callers) = Host::new("");
    for (said, expected) in wrongs() {
        let mut level = None;
        let all = [&said[..], &[Message::Level, Message::Final]].concat();
        let why = lost(host.takes(hello(LONG), &bytes(&all), &mut level)).to_string();
        assert!(why.contains(expected), "{said:?}: {why}");
        assert!(level.is_none(), "{said:?}");
        assert_eq!((host.state.term, host.status.seen().stage), (0, Stage::Copying), "{said:?}");
    }
}

#[test]
fn the_same_is_refused_of_a_speaker_that_speaks_and_what_was_right_stays() {
    for (said, expected) in wrongs() {
        // Of those, nothing is wrong with the end here.
        if said.contains(&Message::Final) {
            continue;
        }
        let (mut host, _callers) = Host::new("");
        let all = [&[Message::Level][..], &said, &[Message::Final]].concat();
        let mut level = None;
        let why = lost(host.takes(hello(LONG), &bytes(&all), &mut level)).to_string();
        assert!(why.contains(expected), "{said:?}: {why}");
        let copy = level.expect("it was level before");
        assert!([with([]), with(0..3)].contains(&copy.journals[0]), "{said:?}: {copy:?}");
    }
}

#[test]
fn a_connection_that_ends_anywhere_before_it_is_level_leaves_nothing() {
    let [one, two] = records([0..3, 3..6]);
    let said = bytes(&[one, two, Message::Level]);
    let (mut host, _callers) = Host::new("");
    for len in 0..said.len() {
        let mut level = None;
        let why = lost(host.takes(hello(LONG), &said[..len], &mut level));
        assert_eq!(why.kind(), io::ErrorKind::UnexpectedEof, "{len} bytes: {why}");
        assert!(level.is_none() && host.state.term == 0, "{len} bytes");
    }
    let mut level = None;
    lost(host.takes(hello(LONG), &said, &mut level));
    assert_eq!(level.unwrap().journals, [with(0..6)]);
    // It is kept that this host may have to go on, and callers hear of it.
    let expected = state("two", Role::Standby, 1);
    assert_eq!((&host.state, &host.sign.read()), (&expected, &expected));
    let folder = host.settings.journal.folder.as_deref().unwrap();
    assert_eq!(State::load(folder).unwrap(), Some(expected));
}

#[test]
fn a_complete_copy_is_kept_until_the_next_one_is_level() {
    let [one, two] = records([0..3, 3..6]);
    let whole = bytes(&[one.clone(), Message::Level, two.clone(), Message::Beat(1)]);
    let (mut host, _callers) = Host::new("");
    let mut level = None;
    lost(host.takes(hello(LONG), &whole, &mut level));
    let free_at = level.as_ref().unwrap().free_at;
    let kept = |level: &Option<Copy>| {
        level.as_ref().is_some_and(|copy| copy.journals == [with(0..6)] && copy.free_at == free_at)
    };
    assert!(kept(&level));
    // The same speaker begins again, and is lost in the middle.
    lost(host.takes(hello(LONG), &bytes(&[one.clone(), two.clone()]), &mut level));
    assert!(kept(&level));
    lost(host.takes(hello(LONG), &bytes(&[one.clone(), Message::Final]), &mut level));
    assert!(kept(&level));
    // Another log, and a term that is over, are not looked at.
    for other in [Hello { log: 8, ..hello(LONG) }, Hello { term: 0, ..hello(LONG) }] {
        lost(host.takes(other, &whole, &mut level));
        assert!(kept(&level) && host.state.log == 7 && host.state.term == 1);
    }
    lost(host.takes(hello(LONG), &bytes(&records([0..9, 9..10])), &mut level));
    assert!(kept(&level));
    lost(host.takes(hello(LONG), &bytes(&[one.clone(), Message::Level]), &mut level));
    assert_eq!(level.as_ref().unwrap().journals, [with(0..3)]);
    // A speaker that has won since may have gone on without this copy.
    lost(host.takes(Hello { term: 2, ..hello(LONG) }, &bytes(&[one]), &mut level));
    assert!(level.is_none());
}

#[test]
fn a_host_that_could_not_go_on_refuses_to_be_level() {
    let folder = TempDir::new().unwrap();
    let profile = folder.path().join("profile.toml");
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/profiles/none.toml");
    fs::copy(built_in, &profile).unwrap();
    let (mut host, _callers) = Host::new(&format!("[policy]\nprofile = '{}'", profile.display()));
    fs::rename(&profile, folder.path().join("gone")).unwrap();
    refuses(&mut host, "the standby could not go on");
    // The next time all is well but the folder.
    fs::rename(folder.path().join("gone"), &profile).unwrap();
    fs::remove_dir_all(host.settings.journal.folder.clone().unwrap()).unwrap();
    refuses(&mut host, "the standby cannot keep its part");
}

fn refuses(host: &mut Host, expected: &str) {
    let [mut speaker, stream] = connection();
    let [one, two] = records([0..3, 3..6]);
    say(&mut speaker, &[one, Message::Level, two]);
    speaker.shutdown(Shutdown::Write).unwrap();
    let mut level = None;
    lost(host.standing().take(Caller { stream, hello: hello(LONG) }, &mut level));
    assert!(matches!(hear(&mut speaker), Message::Taken { beat: 0, .. }));
    match hear(&mut speaker) {
        Message::LevelAnswer(Some(reason)) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(level.is_none() && host.state.term == 0);
}

/// A host that stands by on its own.
struct Stands {
    callers: Sender<Caller>,
    status: Status,
    thread: JoinHandle<(io::Result<Copy>, Host)>,
}

fn stands(more: &str) -> Stands {
    let (mut host, callers) = Host::new(more);
    let status = host.status.clone();
    let thread = thread::spawn(move || (host.standing().stand(), host));
    Stands { callers, status, thread }
}

impl Stands {
    /// A speaker of which it has a level copy.
    fn speaker(&self, hello: &Hello) -> TcpStream {
        let [mut speaker, stream] = connection();
        self.callers.send(Caller { stream, hello: hello.clone() }).unwrap();
        let [one, two] = records([0..3, 3..6]);
        say(&mut speaker, &[one, Message::Level]);
        assert!(matches!(hear(&mut speaker), Message::Taken { .. }));
        assert_eq!(hear(&mut speaker), Message::LevelAnswer(None));
        say(&mut speaker, &[two, Message::Address(address(1))]);
        assert!(matches!(hear(&mut speaker), Message::Taken { .. }));
        speaker
    }
}

#[test]
fn it_goes_on_when_the_lease_is_over_for_half_as_long_again() {
    let lease = Duration::from_secs(1);
    for lag_bytes in [0, 1] {
        let host = stands("");
        let hello = Hello { lag_bytes, ..hello(lease) };
        let mut speaker = host.speaker(&hello);
        assert_eq!(host.status.seen().stage, Stage::Level);
        let sent = Instant::now();
        say(&mut speaker, &[Message::Beat(9)]);
        assert!(matches!(hear(&mut speaker), Message::Taken { beat: 9, .. }));
        drop(speaker);
        let (copy, host) = host.thread.join().unwrap();
        assert!(sent.elapsed() >= lease * 3 / 2, "{:?}", sent.elapsed());
        let copy = copy.unwrap();
        assert_eq!(copy.journals, [with(0..6)]);
        // Records that it has not, the speaker may have used.
        assert_eq!(copy.may_lack_the_end, lag_bytes > 0);
        assert_eq!(host.addresses, BTreeSet::from([address(1)]));
    }
}

#[test]
fn a_speaker_that_says_nothing_is_lost_though_it_does_not_hang_up() {
    let lease = Duration::from_secs(1);
    let host = stands("");
    let sent = Instant::now();
    let speaker = host.speaker(&hello(lease));
    let (copy, _) = host.thread.join().unwrap();
    assert!(sent.elapsed() >= lease * 3 / 2, "{:?}", sent.elapsed());
    assert_eq!(copy.unwrap().journals, [with(0..6)]);
    drop(speaker);
}

#[test]
fn it_goes_on_at_once_when_the_speaker_says_so() {
    let folder = TempDir::new().unwrap();
    // Nobody is cut off then, and nobody asked.
    let more = format!("arbiter = '{}'\nfence = ['/bin/false']", folder.path().display());
    let host = stands(&more);
    let mut speaker = host.speaker(&Hello { lag_bytes: 1, ..hello(LONG) });
    say(&mut speaker, &[Message::Final]);
    let (copy, _) = host.thread.join().unwrap();
    let copy = copy.unwrap();
    assert_eq!(copy.journals, [with(0..6)]);
    assert!(!copy.may_lack_the_end);
}

#[test]
fn it_does_not_go_on_in_a_term_that_the_arbiter_gave_to_the_other_host() {
    let folder = TempDir::new().unwrap();
    let host = stands(&format!("arbiter = '{}'", folder.path().display()));
    let speaker = host.speaker(&hello(Duration::from_millis(100)));
    assert!(Arbiter::at(folder.path()).claim(&state("one", Role::Speaker, 1)).unwrap());
    drop(speaker);
    until("it has nothing", || host.status.seen().stage == Stage::Empty);
    drop(host.callers);
    let (copy, _) = host.thread.join().unwrap();
    assert!(copy.unwrap_err().to_string().contains("nobody listens"));
}

#[test]
fn it_does_not_go_on_before_the_other_host_is_cut_off() {
    let folder = TempDir::new().unwrap();
    let off = folder.path().join("off");
    let host = stands(&format!("fence = ['/bin/ls', '{}']", off.display()));
    drop(host.speaker(&hello(Duration::from_millis(100))));
    until("it takes over", || host.status.seen().stage == Stage::TakingOver);
    // That has failed; meanwhile the speaker may come back.
    let mut speaker = host.speaker(&hello(LONG));
    assert_eq!(host.status.seen().stage, Stage::Level);
    say(&mut speaker, &[Message::Beat(1)]);
    assert!(matches!(hear(&mut speaker), Message::Taken { beat: 1, .. }));
    drop(speaker);
    drop(host.callers);
    let (copy, _) = host.thread.join().unwrap();
    copy.unwrap_err();

    let host = stands(&format!("fence = ['/bin/ls', '{}']", off.display()));
    drop(host.speaker(&hello(Duration::from_millis(100))));
    until("it takes over", || host.status.seen().stage == Stage::TakingOver);
    fs::write(&off, "").unwrap();
    let (copy, _) = host.thread.join().unwrap();
    assert_eq!(copy.unwrap().journals, [with(0..6)]);
}
