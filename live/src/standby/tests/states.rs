//! What a host knows of itself and says of itself to callers.

use std::fs;
use std::io::Write;
use std::thread;

use tempfile::TempDir;

use super::super::door::let_in;
use super::super::fence_if_off;
use super::super::lease::{Lease, now};
use super::super::message::Answer;
use super::super::standing::refusal;
use super::*;
use crate::journal::{Recovered, Stamp};

#[test]
fn a_state_is_kept_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    assert_eq!(State::load(folder).unwrap(), None);
    let one = state("one", Role::Speaker, 1);
    let two = State { term: 2, alone: true, host: "two".repeat(2_000), ..one.clone() };
    one.save(folder).unwrap();
    thread::scope(|scope| {
        let writes = scope.spawn(|| {
            for _ in 0..100 {
                two.save(folder).unwrap();
                one.save(folder).unwrap();
            }
        });
        while !writes.is_finished() {
            let found = State::load(folder).unwrap().unwrap();
            assert!(found == one || found == two, "{found:?}");
        }
    });
    // One that was not finished is nothing.
    fs::write(folder.join("pair.unfinished"), "{\"host\":").unwrap();
    assert_eq!(State::load(folder).unwrap(), Some(one.clone()));
    let whole = fs::read(folder.join("pair.json")).unwrap();
    for len in 0..whole.len() {
        fs::write(folder.join("pair.json"), &whole[..len]).unwrap();
        State::load(folder).unwrap_err();
    }
    fs::write(folder.join("pair.json"), &whole).unwrap();
    // It cannot be written: then the one before counts.
    fs::remove_file(folder.join("pair.unfinished")).unwrap();
    fs::create_dir(folder.join("pair.unfinished")).unwrap();
    two.save(folder).unwrap_err();
    assert_eq!(State::load(folder).unwrap(), Some(one));
}

#[test]
fn hosts_and_logs_have_names_of_their_own() {
    let [one, two] = [Role::Speaker, Role::Speaker].map(|role| State::fresh(role).unwrap());
    assert_ne!(one.host, two.host);
    assert_ne!(one.log, two.log);
    assert!(one.alone && one.term == 1);
    let standby = State::fresh(Role::Standby).unwrap();
    assert_eq!((standby.log, standby.term, standby.alone), (0, 0, false));
}

#[test]
fn a_lease_that_is_over_is_not_extended() {
    let lease = Lease::default();
    assert!(!lease.lasts());
    let later = now() + FOR_EVER.as_nanos() as u64;
    lease.extend(later);
    // A word that was late says less.
    lease.extend(1);
    assert!(lease.lasts());
    lease.end();
    lease.extend(later + 1);
    assert!(!lease.lasts());
}

#[test]
fn a_caller_is_refused_for_what_does_not_fit() {
    let own = hello(Duration::from_millis(300));
    let fresh = State { log: 0, term: 0, ..state("two", Role::Standby, 0) };
    let knows = state("two", Role::Standby, 3);
    let at = |term: u64| Hello { term, ..own.clone() };
    let other = |log: u64, term: u64| Hello { log, term, ..own.clone() };
    let cases = [
        (at(1), &fresh, None),
        (other(9, 4), &fresh, None),
        (at(3), &knows, None),
        (at(4), &knows, None),
        (at(2), &knows, Some("term 2 is over: the other host has heard of 3")),
        (other(9, 4), &knows, Some("stands by for another log")),
        (other(9, 2), &knows, Some("stands by for another log")),
        (Hello { version: 2, ..at(3) }, &knows, Some("versions differ")),
        (Hello { meaning: 6, ..at(3) }, &knows, Some("limits or workers differ")),
        (Hello { workers: 2, ..at(3) }, &knows, Some("limits or workers differ")),
        (Hello { workers: usize::MAX, ..at(1) }, &fresh, Some("limits or workers differ")),
        (Hello { lease_ns: 0, ..at(3) }, &knows, Some("which no lease is")),
        (Hello { lease_ns: u64::MAX / 3 * 2, ..at(3) }, &knows, Some("which no lease is")),
        // Its lease counts, and what it may use unconfirmed is its own affair.
        (Hello { lease_ns: 20_000_000, lag_bytes: 1 << 30, ..at(3) }, &knows, None),
        (Hello { lease_ns: 60_000_000_000, probe: true, ..at(3) }, &knows, None),
    ];
    for (caller, state, expected) in cases {
        let told = refusal(&own, &caller, state);
        let is_so = match (&told, expected) {
            (Some(told), Some(expected)) => told.contains(expected),
            (None, None) => true,
            _ => false,
        };
        assert!(is_so, "{caller:?}: {told:?}, not {expected:?}");
    }
}

#[test]
fn callers_are_answered_and_only_speakers_are_let_in() {
    let own = hello(Duration::from_millis(300));
    let [speaks, stands] = [Role::Speaker, Role::Standby].map(|role| state("two", role, 3));
    let at = |term: u64| Hello { term, ..own.clone() };
    let speaking = Answer::Speaking { log: 7, term: 3 };
    let cases = [
        (at(3), &stands, Some(Answer::StandingBy), true),
        (Hello { probe: true, ..at(3) }, &stands, Some(Answer::StandingBy), false),
        (at(2), &stands, None, false),
        (at(3), &speaks, Some(speaking.clone()), false),
        (at(9), &speaks, Some(speaking), false),
    ];
    for (caller, state, expected, enters) in cases {
        let [mut one, two] = connection();
        say(&mut one, &[Message::Hello(caller.clone())]);
        let found = let_in(two, state, &own).unwrap();
        assert_eq!(found.map(|found| found.hello), enters.then(|| caller.clone()));
        match (hear(&mut one), expected) {
            (Message::Answer(told), Some(expected)) => assert_eq!(told, expected, "{caller:?}"),
            (Message::Answer(Answer::Refused(_)), None) => {}
            other => panic!("{caller:?}: {other:?}"),
        }
    }
}

#[test]
fn who_does_not_say_who_it_is_is_not_let_in() {
    let own = hello(Duration::from_millis(300));
    let stands = state("two", Role::Standby, 3);
    let bytes: [&[u8]; 4] =
        [b"", b"GET / HTTP/1.0\r\n\r\n", &[1, 0, 0, 0, 0], &[1, 255, 255, 255, 255, 0]];
    for bytes in bytes {
        let [mut one, two] = connection();
        one.write_all(bytes).unwrap();
        one.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(let_in(two, &stands, &own).is_err(), "{bytes:?}");
    }
    let [mut one, two] = connection();
    say(&mut one, &[Message::Level]);
    assert!(let_in(two, &stands, &own).is_err());
}

#[test]
fn a_log_of_another_start_of_the_machine_is_fenced_and_one_of_this_is_not() {
    let config = Config::default();
    let known = with([1, 4]);
    let found = |stamp| Recovered { journal: known.clone(), stamp, ..Recovered::nothing(&config) };
    let stamp = Stamp { log: 7, term: 1, boot: 5 };
    let mut fenced = known.clone();
    fenced.fence(0).unwrap();
    assert_ne!(fenced, known);
    // The form before does not say when it was written.
    let cases = [(None, false), (Some(stamp), false), (Some(Stamp { boot: 6, ..stamp }), true)];
    for (written, fences) in cases {
        let mut found = found(written);
        fence_if_off(&mut found, stamp).unwrap();
        assert_eq!(
            found.journal,
            if fences { fenced.clone() } else { known.clone() },
            "{written:?}"
        );
    }
}
