//! Two programs, of which one speaks. Neither has a port to open: each ends when it may speak.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// No test lasts for so long.
const FOR_EVER: Duration = Duration::from_secs(60);

/// One of two hosts.
struct Host {
    folder: PathBuf,
}

impl Host {
    /// Each pair has addresses of its own: of the network that is this host.
    fn pair(folder: &TempDir, number: u32, lease_ms: u64) -> [Host; 2] {
        let at = |host: u32| {
            let [_, a, b, _] = id().to_be_bytes();
            let last = id() % 256;
            format!("127.{}.{}.{last}:{}", 1 + a % 100, b, 20_000 + 2 * number + host)
        };
        [(0, "speaking"), (1, "standing-by")].map(|(host, begins)| {
            let folder = folder.path().join(host.to_string());
            fs::create_dir(&folder).unwrap();
            let text = format!(
                "[client]\ninterface = 'qpmux-no-link1'\n[server]\ninterface = 'qpmux-no-link2'\n\
                 [journal]\nfolder = '{0}/journal'\nsegment_bytes = 65536\n\
                 [control]\nsocket = '{0}/control'\n[metrics]\nlisten = 'off'\n\
                 [standby]\nlisten = '{1}'\npeer = '{2}'\nbegins = '{begins}'\n\
                 lease_ms = {lease_ms}\n",
                folder.display(),
                at(host),
                at(1 - host),
            );
            fs::write(folder.join("live.toml"), text).unwrap();
            Host { folder }
        })
    }

    fn start(&self) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qpmux-live"));
        command.arg("--config").arg(self.folder.join("live.toml"));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn ctl(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qpmux-live"));
        command.arg("ctl").arg("--socket").arg(self.folder.join("control")).args(words);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the program says that it is so far.
    fn is(&self, stage: &str) {
        let from = Instant::now();
        loop {
            let (status, out) = self.ctl(&["standby"]);
            if status == Some(0) && out.contains(stage) {
                return;
            }
            assert!(from.elapsed() < FOR_EVER, "{stage}: {out}");
            sleep(Duration::from_millis(20));
        }
    }

    /// What it keeps: its role, term, and whether it is alone; and the log.
    fn keeps(&self) -> (String, u64, bool, u64) {
        let file = fs::read(self.folder.join("journal").join("pair.json")).unwrap();
        let state: Value = serde_json::from_slice(&file).unwrap();
        let role = state["role"].as_str().unwrap().to_owned();
        let [term, log] = ["term", "log"].map(|name| state[name].as_u64().unwrap());
        (role, term, state["alone"].as_bool().unwrap(), log)
    }
}

/// How a program ends by itself.
fn ends(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// It was to speak, and could not open its ports.
fn would_have_spoken(child: Child) {
    let (status, error) = ends(child);
    assert!(
        status == Some(2) && error.contains("interface 'qpmux-no-link1'"),
        "{status:?} {error}"
    );
}

#[test]
fn the_other_host_goes_on_when_the_first_one_fails() {
    let folder = TempDir::new().unwrap();
    let [one, two] = Host::pair(&folder, 0, 300);
    let second = two.start();
    two.is("empty");
    would_have_spoken(one.start());
    would_have_spoken(second);
    let (role, term, alone, log) = one.keeps();
    assert_eq!((role.as_str(), term, alone), ("speaker", 1, false));
    assert_eq!(two.keeps(), ("speaker".to_owned(), 2, true, log));
    assert!(Path::new(&two.folder.join("journal/0-0000000000.checkpoint")).exists());
}

#[test]
fn a_host_that_has_lost_the_other_one_says_nothing_until_it_is_told_to() {
    let folder = TempDir::new().unwrap();
    let [one, two] = Host::pair(&folder, 1, 60_000);
    let mut second = two.start();
    two.is("empty");
    would_have_spoken(one.start());
    two.is("waiting");
    second.kill().unwrap();
    second.wait().unwrap();
    // It has lost its copy, and does not speak without one.
    let mut second = two.start();
    two.is("empty");
    assert_eq!(two.ctl(&["go-on-alone", "--the-other-host-is-off"]).0, Some(1));
    second.kill().unwrap();
    second.wait().unwrap();

    let first = one.start();
    one.is("silent");
    kill(Pid::from_raw(first.id() as i32), Signal::SIGTERM).unwrap();
    let (status, error) = ends(first);
    assert!(status == Some(0) && error.contains("nothing was forwarded"), "{status:?} {error}");
    let first = one.start();
    one.is("silent");
    let (role, term, alone, _) = one.keeps();
    assert_eq!((role.as_str(), term, alone), ("speaker", 1, false));
    assert_eq!(one.ctl(&["go-on-alone", "--the-other-host-is-off"]).0, Some(0));
    would_have_spoken(first);
    let (role, term, alone, _) = one.keeps();
    assert_eq!((role.as_str(), term, alone), ("speaker", 2, true));
}
