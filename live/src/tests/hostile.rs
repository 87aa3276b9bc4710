//! Clients of the control socket that mean no good: the loop turns, and nothing grows.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::config::with;
use super::host;
use super::operations::Office;
use crate::control::desk::Desk;
use crate::control::mail::{Bell, Question, post};
use crate::control::protocol::LINE_MAX;
use crate::control::server::Limits;
use crate::wait::wait;

fn asked(socket: &Path, line: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(line).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

/// Runs `job` beside a loop.
fn beside_a_loop(limits: Limits, job: impl FnOnce(&Path) + Send) {
    let (mut host, ..) = host(with("").unwrap().engine().unwrap(), 256);
    Office::new(limits).during(&mut host, || {}, job).0
}

#[test]
fn nonsense_is_answered_with_what_is_wrong_with_it() {
    beside_a_loop(Limits::default(), |socket| {
        for (line, wrong) in [
            (&b"\n"[..], "EOF"),
            (b"{}\n", "missing field `command`"),
            (b"{\"command\":\"dance\"}\n", "unknown variant `dance`"),
            (b"{\"command\":\"stop\",\"farce\":true}\n", "unknown field `farce`"),
            (b"{\"command\":\"connections\",\"from\":-1}\n", "invalid value"),
            (b"\xff\xfe\n", "expected value"),
        ] {
            let answer = asked(socket, line);
            assert!(answer.starts_with("{\"wrong\":") && answer.contains(wrong), "{answer}");
        }
        let capture = |more: &str| {
            let head = "{\"command\":\"capture-start\",\"side\":\"both\"";
            asked(socket, format!("{head},{more}}}\n").as_bytes())
        };
        for (more, refusal) in [
            ("\"file\":\"x.pcap\",\"snap\":1,\"packets\":1", "absolute path"),
            ("\"file\":\"/no/such/x\",\"snap\":1,\"packets\":1", "/no/such/x"),
            ("\"file\":\"/tmp/x\",\"snap\":0,\"packets\":1", "snap is 0"),
            ("\"file\":\"/tmp/x\",\"snap\":1", "it must end"),
            ("\"file\":\"/tmp/x\",\"snap\":1,\"seconds\":1e300", "at most 86400"),
        ] {
            let answer = capture(more);
            assert!(answer.starts_with("{\"refused\":") && answer.contains(refusal), "{answer}");
        }
        // Several lines at once are answered one after the other, also behind nonsense.
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(b"nonsense\n{\"command\":\"drain\"}\n{\"command\":\"drain\"}\n").unwrap();
        let lines = BufReader::new(stream).lines().take(3).map(Result::unwrap);
        let good: Vec<bool> = lines.map(|line| line.starts_with("{\"done\":")).collect();
        assert_eq!(good, [false, true, true]);
    });
}

#[test]
fn a_line_without_end_is_cut_off() {
    beside_a_loop(Limits::default(), |socket| {
        let mut stream = UnixStream::connect(socket).unwrap();
        // It is hung up on while it writes.
        let _ = stream.write_all(&vec![b'x'; 4 * LINE_MAX]);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.contains("more than 8192 bytes"), "{answer}");
        assert!(asked(socket, b"{\"command\":\"drain\"}\n").contains("done"));
        let longest = vec![b' '; LINE_MAX - 20];
        let line = [&longest[..], b"{\"command\":\"drain\"}\n"].concat();
        assert_eq!(line.len(), LINE_MAX);
        assert!(asked(socket, &line).contains("done"));
    });
}

#[test]
fn there_are_no_more_clients_than_there_is_room_for() {
    let limits = Limits { clients: 3, ..Limits::default() };
    beside_a_loop(limits, |socket| {
        let stays: Vec<_> = (0..3).map(|_| UnixStream::connect(socket).unwrap()).collect();
        let mut answer = String::new();
        let more = UnixStream::connect(socket).unwrap();
        BufReader::new(more).read_line(&mut answer).unwrap();
        assert!(answer.contains("too many clients"), "{answer}");
        drop(stays);
        // Their places are free as soon as it is noticed.
        let until = Instant::now() + Duration::from_secs(5);
        while !asked_again(socket) {
            assert!(Instant::now() < until);
            thread::sleep(Duration::from_millis(5));
        }
    });
}

fn asked_again(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let _ = stream.write_all(b"{\"command\":\"drain\"}\n");
    let mut answer = String::new();
    let _ = BufReader::new(stream).read_line(&mut answer);
    answer.contains("done")
}

#[test]
fn the_silent_are_hung_up_on() {
    let limits = Limits { clients: 2, idle: Duration::from_millis(100) };
    beside_a_loop(limits, |socket| {
        let mut silent = UnixStream::connect(socket).unwrap();
        // Half a request now and then is no request.
        let mut slow = UnixStream::connect(socket).unwrap();
        slow.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let begin = Instant::now();
        let ended = loop {
            let _ = slow.write(b" ");
            match slow.read(&mut [0]) {
                Ok(0) => break true,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => break true,
            }
            if begin.elapsed() > Duration::from_secs(10) {
                break false;
            }
        };
        assert!(ended);
        assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
    });
}

#[test]
fn who_asks_and_never_listens_makes_nobody_wait() {
    beside_a_loop(Limits::default(), |socket| {
        let mut deaf = UnixStream::connect(socket).unwrap();
        deaf.set_nonblocking(true).unwrap();
        let begin = Instant::now();
        let mut written = 0;
        while begin.elapsed() < Duration::from_millis(600) {
            written += deaf.write(&b"{\"command\":\"policy-show\"}\n".repeat(64)).unwrap_or(0);
            thread::sleep(Duration::from_millis(1));
            let asked_at = Instant::now();
            assert!(asked(socket, b"{\"command\":\"policy-show\"}\n").contains("done"));
            assert!(asked_at.elapsed() < Duration::from_secs(1), "others are answered");
        }
        assert!(written > 0);
    });
}

#[test]
fn a_letter_wakes_a_loop_that_sleeps() {
    let bell = Bell::new().unwrap();
    let (client, server) = UnixStream::pair().unwrap();
    let ports = [client.as_fd(), server.as_fd()];
    let (mut host, ..) = host(with("").unwrap().engine().unwrap(), 256);
    let (mut post, mailbox) = post(bell.clone());
    let mut desk = Desk::new(mailbox);
    let asks = thread::spawn(move || {
        let answers = (0..3).map(|_| post.ask(Question::Policy).is_ok()).filter(|good| *good);
        answers.count()
    });
    for _ in 0..3 {
        wait(&ports, &bell, None).unwrap();
        let _ = desk.attend(&mut host, qpmux_engine::Nanos(1));
    }
    assert_eq!(asks.join().unwrap(), 3);
    let begin = Instant::now();
    wait(&ports, &bell, Some(Duration::from_millis(50))).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(50), "what was heard rings no longer");
}

#[test]
fn nobody_waits_for_a_loop_that_is_gone() {
    let (mut post, mailbox) = post(Bell::new().unwrap());
    drop(mailbox);
    let error = post.ask(Question::Policy).unwrap_err();
    assert_eq!(error.to_string(), "the packet loop has stopped");
}
