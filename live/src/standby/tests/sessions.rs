//! A host that speaks: what it may use, and until when.

use std::io;
use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::thread;

use qpmux_engine::ServerQpId;
use qpmux_engine::journal::{Binding, Extent, Operands, Steer};
use qpmux_engine::wire::{ClientPsn, Msn, Opcode, ServerPsn};
use tempfile::TempDir;

use super::super::door::{Sign, let_in};
use super::super::message::Answer;
use super::super::speaker::{Line, Session, call};
use super::super::standing::Standing;
use super::super::status::Status;
use super::*;
use crate::journal::{Stamp, Writer};

/// A lease that does not end.
const LONG: Duration = Duration::from_secs(600);

/// A session, and the standby's end of its connection. All that was known was heard there.
fn session(hello: &Hello) -> (Session, TcpStream) {
    let [stream, mut standby] = connection();
    // What will be asked is answered already.
    say(
        &mut standby,
        &[
            Message::Taken { beat: 0, positions: vec![1] },
            Message::LevelAnswer(None),
            Message::LevelAnswer(None),
        ],
    );
    let session = Session::open(stream, hello, &[with(0..3)], || Ok(())).unwrap();
    let [known, _] = records([0..3, 3..6]);
    assert_eq!(hear(&mut standby), known);
    assert_eq!(hear(&mut standby), Message::Ready);
    assert_eq!(hear(&mut standby), Message::Level);
    (session, standby)
}

/// The next word that is no beat.
fn hear_more(standby: &mut TcpStream) -> Message {
    loop {
        match hear(standby) {
            Message::Beat(_) => {}
            other => return other,
        }
    }
}

/// Confirms records, which are told.
fn confirm(standby: &mut TcpStream) -> (u64, Vec<u8>) {
    match hear_more(standby) {
        Message::Records { worker: 0, position, chunk } => {
            let positions = vec![position + chunk.len() as u64];
            say(standby, &[Message::Taken { beat: 0, positions }]);
            (position, chunk)
        }
        other => panic!("{other:?}"),
    }
}

/// A writer with a line.
fn writer(folder: &TempDir, session: &Session) -> Writer {
    let settings = settings(folder.path(), "");
    let stamp = Stamp { log: 7, term: 1, boot: 5 };
    let place = settings.journal_place(0).unwrap();
    let mut writer = Writer::begin(place, &settings.engine_config(), stamp, None).unwrap();
    writer.set_line(session.line(0));
    writer
}

fn write(writer: &mut Writer, record: &Record) {
    writer.add(&encoded(record));
    writer.commit().unwrap();
}

fn binding(number: u32) -> Record {
    Record::Binding(Binding {
        client: ClientId(1),
        psn: ClientPsn::new(number),
        msn: Msn::new(number + 1),
        packets: 1,
        opcode: Opcode::WriteOnly,
        payload_len: 8,
        exclusive: false,
        steer: Steer::Own,
        extent: Some(Extent { remote_key: 1, start: 0, len: 8 }),
        operands: Operands::default(),
        key: None,
        server_qp: ServerQpId(1),
        server_psn: ServerPsn::new(number),
        server_floor: ServerPsn::new(number),
        floor: ClientPsn::new(number),
    })
}

/// A standby that confirms all beats until the speaker hangs up. The last of them.
fn confirms(mut standby: TcpStream) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let mut last = 0;
        while let Ok(message) = Message::read(&mut standby) {
            if let Message::Beat(beat) = message {
                last = beat;
                let taken = Message::Taken { beat, positions: vec![0] };
                if taken.write(&mut standby).is_err() {
                    break;
                }
            }
        }
        last
    })
}

#[test]
fn records_may_be_used_when_they_are_confirmed() {
    let folder = TempDir::new().unwrap();
    let (session, mut standby) = session(&hello(LONG));
    let mut writer = writer(&folder, &session);
    let mut expected = chunk(0..3).len() as u64;
    for client in 3..9 {
        write(&mut writer, &stopped(client));
        assert!(!writer.is_settled());
        assert!(session.watch().lag_bytes() > 0);
        assert_eq!(confirm(&mut standby), (expected, chunk([client])));
        writer.settle().unwrap();
        assert!(writer.is_settled());
        assert_eq!(session.watch().lag_bytes(), 0);
        expected += chunk([client]).len() as u64;
    }
    // Half of what was shipped is not enough.
    write(&mut writer, &stopped(9));
    let positions = vec![expected + 1];
    say(&mut standby, &[Message::Taken { beat: 0, positions }]);
    until("it is heard", || session.watch().lag_bytes() < chunk([9]).len() as u64);
    assert!(!writer.is_settled());
}

#[test]
fn nothing_may_be_used_any_more_when_the_standby_dies() {
    let folder = TempDir::new().unwrap();
    let (session, standby) = session(&hello(LONG));
    let mut writer = writer(&folder, &session);
    write(&mut writer, &stopped(3));
    assert!(session.lasts() && writer.turn());
    drop(standby);
    assert_eq!(writer.settle().unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(!session.lasts() && !writer.turn() && !writer.is_settled());
}

#[test]
fn a_standby_that_says_what_no_standby_says_ends_the_session() {
    let wrongs = [Message::Final, Message::Beat(1), Message::LevelAnswer(None), Message::Level];
    for wrong in wrongs {
        let (session, mut standby) = session(&hello(LONG));
        assert!(session.lasts());
        say(&mut standby, &[wrong]);
        until("it has ended", || !session.lasts());
    }
}

#[test]
fn a_lease_lasts_from_beats_that_are_confirmed() {
    let lease = Duration::from_secs(4);
    let (session, standby) = session(&hello(lease));
    let (line, from) = (session.line(0), Instant::now());
    let confirms = confirms(standby);
    while from.elapsed() < lease * 3 / 2 {
        assert!(line.turn(), "after {:?}", from.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    drop((line, session));
    assert!(confirms.join().unwrap() >= 4);
}

/// Turns until that is not allowed any more.
fn turns(line: &Line) {
    until("it may not speak", || !line.turn());
}

#[test]
fn a_lease_ends_when_beats_are_not_confirmed_and_for_good() {
    let lease = Duration::from_secs(2);
    let (session, mut standby) = session(&hello(lease));
    let line = session.line(0);
    let from = Instant::now();
    // Confirming records, or beats that there were not, is not enough.
    say(&mut standby, &[Message::Taken { beat: 0, positions: vec![1 << 20] }]);
    let mut other = standby.try_clone().unwrap();
    let words = thread::spawn(move || {
        let never_sent = Message::Taken { beat: 1 << 20, positions: vec![1 << 20] };
        while never_sent.write(&mut other).is_ok() && from.elapsed() < FOR_EVER {
            thread::sleep(Duration::from_millis(50));
        }
    });
    turns(&line);
    assert!(from.elapsed() < FOR_EVER / 2);
    // Confirmed at last, and too late.
    let (mut beats, mut last) = (0, 0);
    standby.set_nonblocking(true).unwrap();
    while let Ok(Message::Beat(beat)) = Message::read(&mut standby) {
        (beats, last) = (beats + 1, beat);
    }
    assert!(beats > 1);
    standby.set_nonblocking(false).unwrap();
    for beat in 1..last + 2 {
        let _ = Message::Taken { beat, positions: vec![1 << 20] }.write(&mut standby);
    }
    thread::sleep(Duration::from_millis(100));
    assert!(!session.lasts() && !line.turn());
    drop((session, standby));
    words.join().unwrap();
}

#[test]
fn a_worker_that_hangs_ends_the_lease_though_all_is_confirmed() {
    let (session, standby) = session(&hello(Duration::from_secs(1)));
    let line = session.line(0);
    let confirms = confirms(standby);
    assert!(line.turn());
    until("the lease is over", || !session.lasts());
    // It is found out by the worker itself, should it go on.
    assert!(!line.turn());
    drop(session);
    confirms.join().unwrap();
}

#[test]
fn a_session_ends_though_a_worker_that_hangs_keeps_its_line() {
    let (session, standby) = session(&hello(Duration::from_secs(1)));
    let line = session.line(0);
    assert!(line.turn());
    // All that is said is confirmed, so that nothing fails but the worker.
    let _confirms = confirms(standby);
    until("the lease is over", || !session.lasts());
    let (done, ended) = channel();
    thread::spawn(move || {
        drop(session);
        done.send(()).unwrap();
    });
    ended.recv_timeout(FOR_EVER).unwrap();
    drop(line);
}

#[test]
fn it_is_kept_that_this_host_is_not_alone_before_the_other_one_is_level() {
    let [stream, mut standby] = connection();
    say(&mut standby, &[Message::LevelAnswer(None)]);
    let error = Session::open(stream, &hello(LONG), &[with(0..3)], || {
        Err(io::Error::other("the disk is full"))
    });
    assert_eq!(error.unwrap_err().to_string(), "the disk is full");
    assert_eq!(hear(&mut standby), records([0..3, 3..6])[0]);
    assert_eq!(hear(&mut standby), Message::Ready);
    assert!(Message::read(&mut standby).is_err(), "nothing more was said");
}

#[test]
fn a_standby_that_refuses_or_is_gone_is_not_level() {
    let refuses = Message::LevelAnswer(Some("the standby could not go on".to_owned()));
    for (answer, expected) in [(Some(refuses), "could not go on"), (None, "fill whole buffer")] {
        let [stream, mut standby] = connection();
        say(&mut standby, answer.as_slice());
        standby.shutdown(Shutdown::Write).unwrap();
        let alone = || panic!("it was kept that it is not alone");
        let error = Session::open(stream, &hello(LONG), &[with(0..3)], alone).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn the_last_word_is_behind_all_records_and_is_heard() {
    let folder = TempDir::new().unwrap();
    let (session, mut standby) = session(&Hello { lag_bytes: 1 << 20, ..hello(LONG) });
    let mut writer = writer(&folder, &session);
    for number in 0..20 {
        write(&mut writer, &binding(number));
        writer.settle().unwrap();
    }
    drop(writer);
    let finishes = thread::spawn(move || session.finish());
    // It confirms as it takes, and is slow.
    for _ in 0..20 {
        confirm(&mut standby);
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(hear_more(&mut standby), Message::Final);
    assert!(!finishes.is_finished());
    drop(standby);
    assert!(finishes.join().unwrap());
    // One that does not listen was not told, also if the listener gives up first.
    let (session, standby) = self::session(&hello(Duration::from_millis(500)));
    thread::sleep(Duration::from_millis(200));
    assert!(!session.finish());
    drop(standby);
    let (session, standby) = self::session(&hello(LONG));
    drop(standby);
    until("it has ended", || !session.lasts());
    assert!(!session.finish());
}

#[test]
fn what_is_rare_waits_for_all_and_bindings_need_not() {
    let folder = TempDir::new().unwrap();
    let one = encoded(&binding(0)).len() as u64;
    let lag_bytes = 100 * (one + 12);
    let (session, mut standby) = session(&Hello { lag_bytes, ..hello(LONG) });
    let mut writer = writer(&folder, &session);
    write(&mut writer, &binding(0));
    assert!(writer.is_settled());
    write(
        &mut writer,
        &Record::Value {
            client: ClientId(1),
            psn: ClientPsn::new(0),
            opcode: Opcode::CompareSwap,
            original: 5,
        },
    );
    assert!(writer.is_settled());
    // Who has stopped must be known, and what was bound before.
    write(&mut writer, &stopped(3));
    assert!(!writer.is_settled());
    write(&mut writer, &binding(1));
    assert!(!writer.is_settled());
    (0..3).for_each(|_| drop(confirm(&mut standby)));
    assert!(!writer.is_settled());
    confirm(&mut standby);
    writer.settle().unwrap();
    // One with the other is as rare as it.
    writer.add(&encoded(&binding(2)));
    writer.add(&encoded(&stopped(4)));
    writer.commit().unwrap();
    assert!(!writer.is_settled());
    confirm(&mut standby);
    writer.settle().unwrap();
    // And no more than so much is lacking.
    for number in 3..103 {
        write(&mut writer, &binding(number));
        assert!(writer.is_settled(), "{number}");
    }
    write(&mut writer, &binding(103));
    assert!(!writer.is_settled());
    confirm(&mut standby);
    writer.settle().unwrap();
}

/// A speaker that writes records and uses them, and a host that stands by, as they are.
fn both(lease: Duration, end: impl FnOnce(Session)) -> Journal {
    let (own, peer) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stands = thread::spawn(move || {
        let settings = settings(peer.path(), "");
        let mut state = State { log: 0, ..state("two", Role::Standby, 0) };
        let (callers, taken) = channel();
        let caller = let_in(listener.accept().unwrap().0, &state, &hello(lease)).unwrap();
        callers.send(caller.unwrap()).unwrap();
        let (sign, status) = (Sign::of(&state), Status::default());
        let mut standing = Standing {
            settings: &settings,
            state: &mut state,
            sign: &sign,
            callers: &taken,
            status: &status,
            addresses: &mut Default::default(),
        };
        let [journal] = standing.stand().unwrap().journals.try_into().unwrap();
        drop(callers);
        journal
    });
    let hello = hello(lease);
    let (Answer::StandingBy, stream) = call(address, &hello).unwrap() else { panic!() };
    let session = Session::open(stream, &hello, &[with(0..3)], || Ok(())).unwrap();
    let mut writer = writer(&own, &session);
    for client in 3..500 {
        assert!(writer.turn());
        write(&mut writer, &stopped(client));
        writer.settle().unwrap();
    }
    drop(writer);
    end(session);
    stands.join().unwrap()
}

#[test]
fn a_host_that_stands_by_has_all_that_was_used() {
    let told = both(Duration::from_secs(20), |session| assert!(session.finish()));
    assert!(told == with(0..500));
    let died = both(Duration::from_secs(4), drop);
    assert!(died == with(0..500));
}
