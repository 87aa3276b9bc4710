//! What an operator does with a running loop, through its socket.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, Command, FromArgMatches};
use qpmux_engine::{Nanos, Side};
use qpmux_sim::memory::Memory;
use qpmux_traces::CaptureReader;
use serde_json::Value;

use super::config::with;
use super::translated::{Bench, CLIENTS};
use super::{MemoryHost, engine, host};
use crate::config::StopRule;
use crate::control::crew::Crew;
use crate::control::desk::{Desk, Onward};
use crate::control::foreman::Foreman;
use crate::control::mail::{Bell, post};
use crate::control::server::{ControlServer, Limits};
use crate::control::socket::ControlSocket;
use crate::ctl::{CtlArgs, CtlError, carry_out};

/// A socket, its thread, and the loop's desk.
pub(super) struct Office {
    pub(super) desk: Desk,
    pub(super) crew: Crew,
    pub(super) folder: tempfile::TempDir,
    now: u64,
    _server: ControlServer,
}

impl Office {
    pub(super) fn new(limits: Limits) -> Office {
        let folder = tempfile::tempdir().unwrap();
        let socket = ControlSocket::bind(&folder.path().join("control")).unwrap();
        let (post, mailbox) = post(Bell::new().unwrap());
        let crew = Crew::new(vec![post], StopRule::Ask);
        let server = ControlServer::start(socket, crew.clone(), limits).unwrap();
        Office { desk: Desk::new(mailbox), crew, folder, now: 1 << 40, _server: server }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    /// Turns the loop until `job` is done. What it gave, and whether the loop was told to stop.
    pub(super) fn during<T: Send>(
        &mut self,
        host: &mut MemoryHost,
        mut turn: impl FnMut(),
        job: impl FnOnce(&Path) -> T + Send,
    ) -> (T, Onward) {
        let socket = self.socket();
        let mut onward = Onward::Continue;
        let done = thread::scope(|scope| {
            let job = scope.spawn(|| job(&socket));
            while !job.is_finished() {
                turn();
                self.now += 100_000;
                host.turn(Nanos(self.now));
                if self.desk.attend(host, Nanos(self.now)) == Onward::Stop {
                    onward = Onward::Stop;
                }
                thread::sleep(Duration::from_micros(100));
            }
            job.join().unwrap()
        });
        (done, onward)
    }

    fn ctl(&mut self, host: &mut MemoryHost, words: &str) -> Result<String, String> {
        self.during(host, || {}, |socket| ctl(socket, words)).0
    }
}

/// What `ctl` prints.
fn ctl(socket: &Path, words: &str) -> Result<String, String> {
    let words = words.split_whitespace();
    let socket = socket.to_str().unwrap();
    let all = ["ctl", "--socket", socket].into_iter().chain(words);
    let command = CtlArgs::augment_args(Command::new("ctl"));
    let matches = command.try_get_matches_from(all).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    match carry_out(&CtlArgs::from_arg_matches(&matches).unwrap(), &mut out) {
        Ok(()) => Ok(String::from_utf8(out).unwrap()),
        Err(error) => {
            let kind = if matches!(error, CtlError::Refused(_)) { "1 " } else { "2 " };
            Err(format!("{kind}{error}"))
        }
    }
}

/// Time, length and bytes of each frame of a capture.
fn captured(file: &Path) -> Vec<(u64, u32, Vec<u8>)> {
    let mut reader = CaptureReader::open(file).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        frames.push((packet.timestamp_ns, packet.original_len, packet.data.to_vec()));
    }
    frames
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

const LEARNS: &str = "[policy]\nmap = 'writes'\ntrust = 'observed'\n[policy.most]\n\
    atomics = 'replace'\n[network]\npath_mtu = 1024\ndepth = 16\n[limits]\n\
    packet_lifetime_ns = 1000000\n";

/// Clients whose connections are learnt.
fn learning() -> Bench {
    Bench::new(with(LEARNS).unwrap().engine().unwrap(), Memory::new())
}

#[test]
fn report_policy_and_connections_are_told() {
    let mut bench = learning();
    (1..=40).for_each(|number| bench.update(number));
    let mut office = Office::new(Limits::default());
    let report = json(&office.ctl(&mut bench.host, "report").unwrap());
    assert_eq!(report["connections"]["translated"], CLIENTS);
    assert_eq!(report["flips"], CLIENTS);

    let shown = office.ctl(&mut bench.host, "policy show").unwrap();
    assert_eq!(
        shown,
        "now   map=writes steer=none atomics=keep\nmost  map=writes steer=none atomics=replace\n"
    );
    let switched = office.ctl(&mut bench.host, "policy set atomics=replace").unwrap();
    assert!(switched.starts_with("now   map=writes steer=none atomics=replace\n"));
    for (set, refusal) in [
        ("map=all", "1 refused: the engine was not built to map so much: that needs a restart"),
        ("map=none", "1 refused: map none cannot be switched to or from"),
        ("map=most", "2 unknown variant `most`"),
        ("mop=all", "2 unknown field `mop`"),
        ("command=stop", "2 'command=stop'"),
        ("map", "2 'map' must be as map=all"),
    ] {
        let error = office.ctl(&mut bench.host, &format!("policy set {set}")).unwrap_err();
        assert!(error.starts_with(refusal), "{set}: {error}");
    }

    let table = office.ctl(&mut bench.host, "connections").unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 1 + CLIENTS as usize, "{table}");
    assert!(table.contains("10.0.0.1 0x000064  10.0.0.2 0x0000c8  translated     0\n"), "{table}");
    let rows = json(&office.ctl(&mut bench.host, "connections --json").unwrap());
    assert_eq!(rows[1]["client"]["qpn"], 101);
    assert_eq!((&rows[1]["state"], &rows[1]["open"]), (&"translated".into(), &0.into()));
}

#[test]
fn a_drain_keeps_connections_from_translation() {
    let mut bench = learning();
    let mut office = Office::new(Limits::default());
    let words = office.ctl(&mut bench.host, "drain --wait").unwrap();
    assert_eq!(words, "draining: no connection is translated\nno connection is translated\n");
    (1..=40).for_each(|number| bench.update(number));
    assert_eq!(bench.host.engine().counters().flips, 0);
    let report = json(&office.ctl(&mut bench.host, "report").unwrap());
    assert_eq!(report["connections"]["watched"], CLIENTS);
    let words = office.ctl(&mut bench.host, "drain --off").unwrap();
    assert_eq!(words, "not draining: no connection is translated\n");
    // Its time is the clients' again: what was held until then is over.
    bench.host.hold_flips(Nanos(0), true);
    bench.host.hold_flips(Nanos(0), false);
    (41..=80).for_each(|number| bench.update(number));
    assert_eq!(bench.host.engine().counters().flips, u64::from(CLIENTS));
    let words = office.ctl(&mut bench.host, "drain").unwrap();
    assert_eq!(words, "draining: 4 connections are translated\n");
    let error = office.ctl(&mut bench.host, "drain --wait --at-most 0.2").unwrap_err();
    assert_eq!(error, "1 refused: 4 connections are translated still");
    bench.finish();
}

#[test]
fn a_stop_breaks_nothing_unless_it_is_meant() {
    let mut bench = learning();
    (1..=40).for_each(|number| bench.update(number));
    let mut office = Office::new(Limits::default());
    let refused = office.during(&mut bench.host, || {}, |socket| ctl(socket, "stop"));
    let text = "1 refused: 4 connections are translated and would break: drain first, or force it";
    assert_eq!(refused, (Err(text.to_owned()), Onward::Continue));
    let forced = office.during(&mut bench.host, || {}, |socket| ctl(socket, "stop --force"));
    assert_eq!(forced, (Ok("stopping: 4 connections break\n".to_owned()), Onward::Stop));

    let (mut quiet, ..) = host(with("").unwrap().engine().unwrap(), 256);
    let stopped = office.during(&mut quiet, || {}, |socket| ctl(socket, "stop"));
    assert_eq!(stopped, (Ok("stopping: no connection breaks\n".to_owned()), Onward::Stop));
}

#[test]
fn a_signal_stops_what_would_break_only_if_it_comes_again_soon() {
    let mut bench = learning();
    (1..=40).for_each(|number| bench.update(number));
    let settings = with("").unwrap();
    let mut foreman = Foreman::new(&settings, Path::new("live.toml"));
    let begin = Instant::now();
    let mut office = Office::new(Limits::default());
    let mut told = |host: &mut MemoryHost, seconds: u64| {
        let mut crew = office.crew.clone();
        let now = begin + Duration::from_secs(seconds);
        office.during(host, || {}, |_| foreman.on_stop(&mut crew, "SIGTERM", now)).1
    };
    assert_eq!(told(&mut bench.host, 100), Onward::Continue);
    assert_eq!(told(&mut bench.host, 111), Onward::Continue, "too late to be meant");
    assert_eq!(told(&mut bench.host, 121), Onward::Stop);
    let (mut quiet, ..) = host(with("").unwrap().engine().unwrap(), 256);
    assert_eq!(told(&mut quiet, 200), Onward::Stop);
}

#[test]
fn what_is_counted_meanwhile_is_measured() {
    let (mut host, client, server) = host(with("").unwrap().engine().unwrap(), 256);
    let mut office = Office::new(Limits::default());
    client.put(&[1; 100]);
    assert_eq!(
        office.ctl(&mut host, "measure stop").unwrap_err(),
        "1 refused: no measurement runs"
    );
    assert_eq!(office.ctl(&mut host, "measure start").unwrap(), "");
    let error = office.ctl(&mut host, "measure start").unwrap_err();
    assert!(error.starts_with("1 refused: a measurement runs already"), "{error}");
    (0..5).for_each(|_| client.put(&[1; 100]));
    server.put(&[2; 100]);
    let measured = json(&office.ctl(&mut host, "measure stop --json").unwrap());
    assert_eq!(measured["counters"]["ports.client.received"]["count"], 5);
    assert_eq!(measured["counters"]["passed"]["count"], 6);
    assert_eq!(measured["levels"]["open.buffers"], 0);

    let turn = || client.put(&[3; 60]);
    let (table, _) = office.during(&mut host, turn, |socket| ctl(socket, "measure --for 0.3"));
    let table = table.unwrap();
    assert!(table.contains("counter") && table.contains("per second"), "{table}");
    let line = table.lines().find(|line| line.starts_with("ports.client.received")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let (count, rate): (f64, f64) = (words[1].parse().unwrap(), words[2].parse().unwrap());
    // One frame in each turn of 100 microseconds of the loop's time.
    assert!(count > 10.0 && (rate - 10_000.0).abs() < 1.0, "{line}");
    assert!(!table.contains("drops"), "what was not counted is left out");
    for wrong in ["measure", "measure start --for 1", "measure --for 0"] {
        assert!(office.ctl(&mut host, wrong).unwrap_err().contains("error:"), "{wrong}");
    }
}

#[test]
fn frames_are_captured_as_they_come_and_go() {
    let (mut host, client, _server) = host(with("").unwrap().engine().unwrap(), 256);
    let mut office = Office::new(Limits::default());
    let file = office.folder.path().join("slice.pcap");
    let words = format!("capture {} --side client --snap 64 --packets 20", file.display());
    let mut number = 0_u8;
    let turn = || {
        number = number.wrapping_add(1);
        client.put(&[number; 100]);
    };
    let (printed, _) = office.during(&mut host, turn, |socket| ctl(socket, &words));
    assert_eq!(printed.unwrap(), format!("{}: 20 frames\n", file.display()));
    let frames = captured(&file);
    assert_eq!(frames.len(), 20);
    for pair in frames.windows(2) {
        assert_eq!(pair[1].0 - pair[0].0, 100_000, "the loop's time");
        assert_eq!(pair[1].2[0], pair[0].2[0].wrapping_add(1), "in order");
    }
    assert!(frames.iter().all(|(_, len, bytes)| (*len, bytes.len()) == (100, 64)));

    let error = office.ctl(&mut host, &words).unwrap_err();
    assert!(error.starts_with("1 refused") && error.ends_with("is there already"), "{error}");
    // By time; both sides see what passes.
    let both = office.folder.path().join("both.pcap.gz");
    let words = format!("capture {} --for 0.2", both.display());
    let (printed, _) =
        office.during(&mut host, || client.put(&[7; 60]), |socket| ctl(socket, &words));
    assert!(printed.unwrap().contains(" frames\n"));
    let sides = captured(&both).len();
    assert!(sides > 10 && sides.is_multiple_of(2), "{sides}");
    assert!(office.ctl(&mut host, "capture x").unwrap_err().contains("error:"));
    // Only files that are whole are left.
    assert_eq!(fs::read_dir(office.folder.path()).unwrap().count(), 4);
}

#[test]
fn a_capture_ends_with_who_asked_for_it() {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;
    let (mut host, client, _server) = host(with("").unwrap().engine().unwrap(), 256);
    let mut office = Office::new(Limits::default());
    let file = office.folder.path().join("left.pcap");
    let start = format!(
        "{{\"command\":\"capture-start\",\"file\":\"{}\",\"side\":\"client\",\"snap\":64,\
        \"packets\":1000000}}\n",
        file.display()
    );
    let turn = || client.put(&[5; 80]);
    let ((), onward) = office.during(&mut host, turn, |socket| {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(start.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert!(line.contains("\"running\":true"), "{line}");
        let again = ctl(socket, "capture /tmp/no-such --for 1").unwrap_err();
        assert!(again.contains("a capture runs already"), "{again}");
        drop(stream);
        while !file.exists() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(onward, Onward::Continue);
}

#[test]
fn what_is_of_no_configured_server_passes_unseen() {
    let mut bench = learning();
    let servers = vec!["10.0.0.9".to_owned(), "2001:db8::/32".to_owned()];
    bench.host.beside().set_servers(servers.try_into().unwrap());
    (1..=40).for_each(|number| bench.update(number));
    let report = bench.finish();
    assert_eq!((report.totals["learnt"], report.totals["passed"]), (0, 0));
    assert!(report.passed_not_ours > 64);
    assert_eq!(
        report.passed_not_ours,
        report.ports.client.counters.received + report.ports.server.counters.received
    );

    let mut bench = learning();
    bench.host.beside().set_servers(vec!["10.0.0.0/30".to_owned()].try_into().unwrap());
    (1..=40).for_each(|number| bench.update(number));
    let report = bench.finish();
    assert_eq!((report.totals["flips"], report.passed_not_ours), (u64::from(CLIENTS), 0));
}

#[test]
fn frames_of_others_keep_their_order_and_bytes() {
    let map = qpmux_engine::policy::Map::None;
    let (mut host, client, server) = host(engine(map, vec![], vec![]), 256);
    host.beside().set_servers(vec!["192.0.2.1".to_owned()].try_into().unwrap());
    let frames: Vec<Vec<u8>> = (0..100_u8).map(|number| vec![number; 60]).collect();
    frames.iter().for_each(|frame| client.put(frame));
    for now in 1..4 {
        host.turn(Nanos(now));
    }
    assert_eq!(server.take_sent(), frames);
    assert_eq!((host.engine().counters().passed, host.beside().passed_not_ours()), (0, 100));
    assert_eq!(host.port_counters(Side::Server).0.sent, 100);
    assert_eq!((host.kept(), host.broken()), (0, 0));
}
