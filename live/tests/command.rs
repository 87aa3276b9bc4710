//! The program as it is called: what it prints, and its exit status.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

use qpmux_engine::Nanos;
use qpmux_live::config::{Settings, StopRule};
use qpmux_live::control::crew::Crew;
use qpmux_live::control::desk::Desk;
use qpmux_live::control::mail::{Bell, post};
use qpmux_live::control::server::{ControlServer, Limits};
use qpmux_live::control::socket::ControlSocket;
use qpmux_live::copying::Copying;
use qpmux_live::host::Host;
use qpmux_live::port::{Port, Received, SendFailure};

const PORTS: &str = "[client]\ninterface = 'eth1'\n[server]\ninterface = 'eth2'\n";

/// Where no frame ever comes.
struct Nothing;

impl Port for Nothing {
    fn receive(&mut self, _: &mut [u8]) -> io::Result<Received> {
        Ok(Received::Nothing)
    }

    fn send(&mut self, _: &[u8]) -> Result<(), SendFailure> {
        Ok(())
    }

    fn missed(&mut self) -> u64 {
        0
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qpmux-live"));
    command.args(words);
    command
}

fn ended(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn called(words: &[&str]) -> (Option<i32>, String, String) {
    ended(&command(words).output().unwrap())
}

#[test]
fn wrong_use_has_its_own_status() {
    for words in [
        &[][..],
        &["--check"],
        &["ctl"],
        &["ctl", "report"],
        &["ctl", "--socket", "/no/such", "dance"],
        &["--config", "x", "ctl", "--socket", "/no/such", "report"],
    ] {
        let (status, out, error) = called(words);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{words:?}: {error}");
    }
    let (status, _, error) = called(&["ctl", "--socket", "/no/such", "report"]);
    assert_eq!(status, Some(2));
    assert!(error.starts_with("qpmux-live ctl: /no/such: No such file"), "{error}");
}

#[test]
fn a_configuration_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("live.toml");
    let file = file.to_str().unwrap();
    fs::write(file, format!("version = 1\n{PORTS}[log]\nformat = 'json'\n")).unwrap();
    let (status, out, error) = called(&["--config", file, "--check"]);
    assert_eq!((status, out), (Some(0), format!("{file}: good\n")), "{error}");
    fs::write(file, format!("version = 2\n{PORTS}")).unwrap();
    let (status, _, error) = called(&["--config", file, "--check"]);
    assert!(status == Some(2) && error.contains("version is 2, must be 1"), "{error}");
}

/// What the command says to a program that runs, and whether that is told to stop.
fn told(socket: &Path, desk: &mut Desk, words: &[&str]) -> (Option<i32>, String, String) {
    let settings = Settings::parse(PORTS).unwrap();
    let mut host =
        Host::new(settings.engine().unwrap(), Copying::new(Nothing, Nothing, 256, 2_048), 256);
    let all = [&["ctl", "--socket", socket.to_str().unwrap()], words].concat();
    let mut child = command(&all)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        let _ = desk.attend(&mut host, Nanos(1));
        std::thread::yield_now();
    }
    ended(&child.wait_with_output().unwrap())
}

#[test]
fn a_running_program_does_what_it_is_told_or_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control");
    let (post, mailbox) = post(Bell::new().unwrap());
    let crew = Crew::new(vec![post], StopRule::Ask);
    let listens = ControlSocket::bind(&socket).unwrap();
    let server = ControlServer::start(listens, crew, Limits::default()).unwrap();
    let mut desk = Desk::new(mailbox);
    let (status, out, error) = told(&socket, &mut desk, &["policy", "show"]);
    assert!(status == Some(0) && out.starts_with("now   map=none"), "{out}{error}");
    let (status, out, error) = told(&socket, &mut desk, &["policy", "set", "map=all"]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(error.starts_with("qpmux-live ctl: refused: map none cannot be switched"), "{error}");
    let (status, out, _) = told(&socket, &mut desk, &["report"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &report["passed_not_ours"]), (Some(0), &0.into()));
    drop(server);
    assert!(!socket.exists());
}
