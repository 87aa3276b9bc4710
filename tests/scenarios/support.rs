//! What the scenarios share: samples, runs in this process, runs of the program.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use qpmux_engine::policy::{KeyMap, Map, Order, Policy, TrustBy};
use qpmux_sim::replay::{ReplayReport, Setup, replay_modelled};
use qpmux_tests::binary::qpmux;
use qpmux_workloads::load_profile;

/// The samples of a key-value workload whose true pairs of queue pairs are known.
pub(crate) const KEY_VALUE: [&str; 2] = ["kv-ycsb-a-16qp", "kv-ycsb-a-2clients-16qp"];
/// The one that most tests of the command line use.
pub(crate) const SAMPLE: &str = "kv-ycsb-a-16qp.pcap";

/// What `qpmux replay` does without options, keys on `server_qps` queue pairs (0: all).
pub(crate) fn setup(server_qps: u32) -> Setup {
    Setup {
        policy: Policy {
            map: Map::Writes,
            key_map: KeyMap::Modulo,
            server_qps,
            trust: TrustBy::Directory,
            order: Order::Fenced,
            profile: load_profile("kv").unwrap(),
            message_packets_max: 1,
            ..Policy::default()
        },
        ..Setup::default()
    }
}

/// Replays a sample with modelled responses into a folder.
pub(crate) fn replay(name: &str, setup: &Setup, out: &Path) -> ReplayReport {
    let capture = qpmux_tests::sample(&format!("{name}.pcap"));
    replay_modelled(&capture, Some(out), setup, &mut |_| {}).unwrap()
}

/// What a run of the program did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn of(output: &Output) -> Run {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Run {
            status: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// The run was refused as wrong use or input, in words that hold all of `mentions`.
    pub(crate) fn assert_refused(&self, mentions: &[&str]) {
        assert_eq!(self.status, Some(2), "{self:#?}");
        assert_eq!(self.stdout, "", "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        for mention in mentions {
            assert!(self.stderr.contains(mention), "'{mention}' is not in: {self:#?}");
        }
    }

    /// The run ended well.
    pub(crate) fn assert_good(self) -> Run {
        assert_eq!(self.status, Some(0), "{self:#?}");
        assert_eq!(self.stderr, "", "{self:#?}");
        self
    }
}

/// Runs the program in a folder.
pub(crate) fn run_in<A: AsRef<OsStr>>(
    folder: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Run {
    Run::of(&qpmux().current_dir(folder).args(arguments).output().unwrap())
}

/// All files and folders below `folder`, hidden ones too, sorted.
pub(crate) fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}
