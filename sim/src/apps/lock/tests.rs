//! The judge of locks misses nothing that it is there for.

use super::judge::{Judge, Token};
use super::{COUNTERS, LOCKS, WORD};
use crate::apps::{Adversity, Release};
use crate::memory::{Access, Effect, Memory};

const ONE: Token = Token(1 << 40 | 1);
const TWO: Token = Token(2 << 40 | 1);

/// Two threads that ask for lock 3.
fn asked() -> Judge {
    let mut judge = Judge::new(8);
    judge.on_attempt(10, 3, ONE);
    judge.on_attempt(10, 3, TWO);
    judge
}

fn store(judge: &mut Judge, time: u64, value: u64) {
    let access = Access::Write { data: value.to_le_bytes().into() };
    let address = LOCKS + 3 * WORD;
    judge.on_effect(&Effect { time, server_qp: 1, psn: 1, address, again: false, access });
}

/// The rules broken so far.
fn broken(judge: &Judge) -> Vec<&'static str> {
    judge.broken.iter().map(|(id, _)| id).collect()
}

/// The first thread has the lock, and knows.
fn held() -> Judge {
    let mut judge = asked();
    store(&mut judge, 20, ONE.0);
    assert!(judge.on_told(30, ONE, 0));
    judge
}

#[test]
fn a_run_as_it_must_be() {
    let mut judge = held();
    assert!(!judge.on_told(31, TWO, ONE.0));
    judge.on_counted(35, 3, 0);
    judge.on_releasing(ONE, true);
    store(&mut judge, 40, 0);
    judge.on_released(50, ONE, Release::CompareSwap, ONE.0);
    let mut memory = Memory::new();
    memory.write_u64(COUNTERS + 3 * WORD, 1);
    judge.finish(60, &memory, false);
    assert_eq!(broken(&judge), Vec::<&str>::new());
}

#[test]
fn a_lock_that_is_taken_from_its_holder() {
    let mut judge = held();
    store(&mut judge, 35, TWO.0);
    assert_eq!(broken(&judge), ["L1"]);
}

#[test]
fn two_that_believe_to_hold_it() {
    let mut judge = held();
    judge.on_told(40, TWO, 0);
    assert_eq!(broken(&judge), ["L1", "L2"]);
}

/// Of the first locks only it is asked that they are free at the end.
#[test]
fn locks_that_may_be_lost() {
    for (unsound_keys, expected) in [(3, &["L1"][..]), (4, &[])] {
        let adversity = Adversity { unsound_keys, ..Adversity::default() };
        let mut judge = held().with(&adversity);
        store(&mut judge, 35, TWO.0);
        assert_eq!(broken(&judge), expected);
        let mut memory = Memory::new();
        memory.write_u64(LOCKS + 3 * WORD, TWO.0);
        judge.finish(60, &memory, false);
        assert!(broken(&judge).contains(&"L5"));
    }
}

#[test]
fn a_server_that_keeps_words_in_the_other_order() {
    let adversity = Adversity { big_endian: true, ..Adversity::default() };
    let mut judge = asked().with(&adversity);
    store(&mut judge, 20, ONE.0.swap_bytes());
    assert!(judge.on_told(30, ONE, 0));
    assert_eq!(broken(&judge), Vec::<&str>::new());
    let mut judge = asked().with(&adversity);
    store(&mut judge, 20, ONE.0);
    assert_eq!(broken(&judge), ["L2"]);
}

#[test]
fn a_grant_to_who_was_told_of_none() {
    let mut judge = asked();
    store(&mut judge, 20, ONE.0);
    judge.on_told(30, ONE, TWO.0);
    assert_eq!(broken(&judge), ["L2"]);
}

#[test]
fn a_grant_that_comes_late() {
    let mut judge = held();
    judge.on_told(31, TWO, ONE.0);
    judge.on_releasing(ONE, false);
    store(&mut judge, 40, 0);
    store(&mut judge, 50, TWO.0);
    assert_eq!(broken(&judge), ["L2"]);
}

#[test]
fn a_release_that_nobody_asked_for_or_twice() {
    let mut judge = held();
    store(&mut judge, 40, 0);
    assert_eq!(broken(&judge), ["L3"]);
    let mut judge = held();
    judge.on_releasing(ONE, false);
    store(&mut judge, 40, 0);
    store(&mut judge, 50, 0);
    assert_eq!(broken(&judge), ["L3"]);
}

#[test]
fn a_release_that_was_told_too_soon() {
    let mut judge = held();
    judge.on_releasing(ONE, false);
    judge.on_released(50, ONE, Release::Write, 0);
    assert_eq!(broken(&judge), ["L3"]);
}

#[test]
fn an_owner_that_the_lock_never_had() {
    let mut judge = held();
    judge.on_told(40, TWO, 77);
    assert_eq!(broken(&judge), ["L4"]);
}

#[test]
fn a_count_that_was_overtaken() {
    let mut judge = held();
    judge.on_counted(35, 3, 1);
    assert_eq!(broken(&judge), ["L6"]);
}

#[test]
fn a_lock_that_is_never_given_back() {
    let mut judge = held();
    let mut memory = Memory::new();
    memory.write_u64(LOCKS + 3 * WORD, ONE.0);
    judge.finish(60, &memory, false);
    assert_eq!(broken(&judge), ["L2", "L5"]);
}
