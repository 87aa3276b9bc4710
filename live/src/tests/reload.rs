//! The configuration is read again while the engine runs.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, raise};
use qpmux_engine::policy::{Choices, Map, Steer};

use super::config::{PORTS, with};
use super::operations::Office;
use super::{MemoryHost, host};
use crate::config::Settings;
use crate::control::foreman::Foreman;
use crate::control::mail::Bell;
use crate::control::server::Limits;
use crate::wait::{Signals, Wake};

const START: &str = "[policy]\nmap = 'writes'\ntrust = 'observed'\nprofile = 'clover'\n";
const MOST: &str = "[policy.most]\nmap = 'all'\nsteer = 'all'\natomics = 'replace'\n";

/// A running host, and the file that it was started with.
struct Bench {
    host: MemoryHost,
    office: Office,
    settings: Settings,
    path: PathBuf,
}

impl Bench {
    fn new(name: &str, rest: &str) -> Bench {
        let path = std::env::temp_dir().join(format!("qpmux-{}-{name}.toml", std::process::id()));
        let settings = with(rest).unwrap();
        let (host, ..) = host(settings.engine().unwrap(), 256);
        Bench { host, office: Office::new(Limits::default()), settings, path }
    }

    /// What the engine does once the file says this.
    fn reloaded(&mut self, rest: &str) -> Choices {
        fs::write(&self.path, format!("{PORTS}{rest}")).unwrap();
        self.reload();
        self.host.engine().choices()
    }

    fn reload(&mut self) {
        let mut crew = self.office.crew.clone();
        let foreman = Foreman::new(&self.settings, &self.path);
        let _ = self.office.during(&mut self.host, || {}, |_| foreman.on_reload(&mut crew));
    }

    fn error(&self) -> String {
        format!("{:#}", anyhow::Error::new(self.settings.reload(&self.path).unwrap_err()))
    }

    fn restart(&self) -> Vec<&'static str> {
        self.settings.reload(&self.path).unwrap().restart
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[test]
fn the_policy_follows_its_file_as_far_as_the_engine_was_built_for_it() {
    let mut bench = Bench::new("follows", &format!("{START}{MOST}"));
    let start = bench.host.engine().choices();
    assert_eq!((start.map, start.steer), (Map::Writes, Steer::None));
    let all = START.replace("'writes'", "'all'\nsteer = 'all'\natomics = 'replace'");
    let most = bench.reloaded(&format!("{all}{MOST}"));
    assert_eq!((most.map, most.steer), (Map::All, Steer::All));
    assert!(bench.restart().is_empty());
    assert_eq!(bench.reloaded(&format!("{START}{MOST}")), start);
    // The first is that from what it was built for to what it begins with.
    assert_eq!(bench.host.engine().counters().switches, 3);

    // Without the table the engine is built for what it begins with.
    let mut plain = Bench::new("plain", START);
    let start = plain.host.engine().choices();
    assert_eq!(plain.reloaded(&all), start);
    assert!(plain.restart().is_empty());
    assert_eq!(plain.reloaded(&START.replace("'writes'", "'none'")), start);
}

#[test]
fn what_else_has_changed_needs_a_restart() {
    let mut bench = Bench::new("restart", &format!("{START}{MOST}"));
    let steers = START.replace("'writes'", "'writes'\nsteer = 'writes'");
    let now = bench.reloaded(&format!("{steers}server_qps = 2\n{MOST}[limits]\nwords_max = 8\n"));
    assert_eq!(now.steer, Steer::Writes);
    assert_eq!(bench.restart(), ["policy", "limits"]);
    bench.reloaded(&format!("{START}{MOST}[network]\npath_mtu = 1024\n"));
    assert_eq!(bench.restart(), ["network"]);
    bench.reloaded(START);
    assert_eq!(bench.restart(), ["policy"]);
    let operations =
        "[control]\nstop = 'force'\n[metrics]\nlisten = 'off'\n[log]\nformat = 'json'\n";
    bench.reloaded(&format!("{START}{MOST}{operations}"));
    assert_eq!(bench.restart(), ["control", "metrics", "log"]);
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let mut bench = Bench::new("bad", &format!("{START}{MOST}"));
    let start = bench.host.engine().choices();
    for (rest, complaint) in [
        ("[policy]\nmap = 'all-of-it'\n", "line 6"),
        ("[policy]\nsteer = 'all'\n", "policy.steer"),
        ("[policy]\nmap = 'writes'\n", "policy.trust"),
    ] {
        assert_eq!(bench.reloaded(rest), start);
        assert!(bench.error().contains(complaint), "{}", bench.error());
    }
    fs::remove_file(&bench.path).unwrap();
    bench.reload();
    assert_eq!(bench.host.engine().choices(), start);
}

#[test]
fn a_hangup_is_no_stop() {
    let (signals, bell) = (Signals::new().unwrap(), Bell::new().unwrap());
    for (signal, wake) in [(Signal::SIGHUP, Wake::Reload), (Signal::SIGTERM, Wake::Stop("SIGTERM"))]
    {
        raise(signal).unwrap();
        assert_eq!(signals.wait(&bell).unwrap(), wake);
    }
    bell.ring();
    assert_eq!(signals.wait(&bell).unwrap(), Wake::Bell);
}
