//! A term is one host's, however many ask for it, and however often.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Barrier;
use std::thread;

use tempfile::TempDir;

use super::super::arbiter::Arbiter;
use super::*;

/// What each of two hosts is told, by as many threads of each as there are.
fn claims(folder: &Path, term: u64, threads: usize) -> BTreeMap<&'static str, Vec<bool>> {
    let begin = Barrier::new(2 * threads);
    let claim = |host: &str| {
        let state = state(host, Role::Speaker, term);
        begin.wait();
        Arbiter::at(folder).claim(&state).unwrap()
    };
    let claim = &claim;
    thread::scope(|scope| {
        let asked: Vec<_> = (0..2 * threads)
            .map(|thread| ["one", "two"][thread % 2])
            .map(|host| (host, scope.spawn(move || claim(host))))
            .collect();
        let mut told = BTreeMap::<_, Vec<bool>>::new();
        for (host, thread) in asked {
            told.entry(host).or_default().push(thread.join().unwrap());
        }
        told
    })
}

#[test]
fn one_host_wins_a_term_and_the_same_one_when_it_is_asked_again() {
    let folder = TempDir::new().unwrap();
    for term in 0..100 {
        let told = claims(folder.path(), term, 4);
        let [one, two] = ["one", "two"].map(|host| told[host][0]);
        assert_ne!(one, two, "term {term}: {told:?}");
        for again in [&told, &claims(folder.path(), term, 2)] {
            assert!(again["one"].iter().all(|wins| *wins == one), "term {term}: {again:?}");
            assert!(again["two"].iter().all(|wins| *wins == two), "term {term}: {again:?}");
        }
    }
    // One file for each term, and nothing of the claims.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 100);
}

#[test]
fn another_term_or_log_is_another_question() {
    let folder = TempDir::new().unwrap();
    let arbiter = Arbiter::at(folder.path());
    let [one, two] = ["one", "two"].map(|host| state(host, Role::Speaker, 1));
    assert!(arbiter.claim(&one).unwrap());
    assert!(!arbiter.claim(&two).unwrap());
    assert!(arbiter.claim(&State { term: 2, ..two.clone() }).unwrap());
    assert!(arbiter.claim(&State { log: 8, ..two.clone() }).unwrap());
    assert!(!arbiter.claim(&two).unwrap());
}

#[test]
fn what_the_arbiter_does_not_know_nobody_wins_and_nobody_loses() {
    let folder = TempDir::new().unwrap();
    let one = state("one", Role::Speaker, 1);
    let missing = folder.path().join("missing");
    Arbiter::at(&missing).claim(&one).unwrap_err();
    assert!(Arbiter::at(folder.path()).claim(&one).unwrap());
    // The machine of the folder has lost its power.
    let [file] = [fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path()];
    fs::write(&file, "").unwrap();
    for host in ["one", "two"] {
        let error = Arbiter::at(folder.path()).claim(&state(host, Role::Speaker, 1)).unwrap_err();
        assert!(error.to_string().contains("does not say who has won"), "{error}");
    }
}
