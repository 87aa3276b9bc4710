//! Runs the capture checkers in `tests/scripts/`, which share no code with qpmux.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What a checker said.
#[derive(Debug)]
pub struct Verdict {
    /// The checks that failed, each with the first packets that broke it, in words.
    pub failed: BTreeMap<String, Vec<String>>,
    /// The whole report.
    pub report: Value,
}

impl Verdict {
    /// The names of the checks that failed, sorted.
    pub fn failed_checks(&self) -> Vec<&str> {
        self.failed.keys().map(String::as_str).collect()
    }

    /// Panics with the failures, if there are any.
    pub fn assert_good(&self) {
        assert!(self.failed.is_empty(), "the checker found: {:#?}", self.failed);
    }
}

/// Runs a script of `tests/scripts/` with Debian's Python, which is the one that has scapy.
///
/// # Panics
///
/// If the script cannot be run, or cannot read its input.
pub fn check<A: AsRef<OsStr>>(script: &str, arguments: impl IntoIterator<Item = A>) -> Verdict {
    verdict(script, python(Path::new("/usr/bin/python3"), script).args(arguments))
}

/// Runs `check_table.py` on a folder of results, with the Python that has Apache Arrow; none, and
/// it is said, if there is no such Python.
///
/// # Panics
///
/// If the script cannot be run, or there is no such Python in continuous integration.
pub fn check_table(test: &str, folder: &Path) -> Option<Verdict> {
    let script = "check_table.py";
    match python_with_arrow() {
        Some(program) => Some(verdict(script, python(&program, script).arg(folder))),
        None => {
            crate::skip(test, "no Python with Apache Arrow, which tests/run.sh installs");
            None
        }
    }
}

/// Debian's Python has no Arrow; `tests/run.sh` makes one that has, in Cargo's target folder.
fn python_with_arrow() -> Option<PathBuf> {
    let test = std::env::current_exe().expect("a test knows its executable");
    let mut programs = test.ancestors().map(|folder| folder.join("python/bin/python3"));
    programs.find(|program| program.is_file())
}

fn verdict(script: &str, command: &mut Command) -> Verdict {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 1)), "{script} gave status {code:?}: {errors}");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{script} gave no JSON: {error}: {errors}"));
    let failed = failures(&report);
    assert_eq!(failed.is_empty(), code == Some(0), "{script}: status and report disagree");
    Verdict { failed, report }
}

fn python(program: &Path, script: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("-B").arg(crate::root().join("tests/scripts").join(script)).stdin(Stdio::null());
    command
}

fn failures(report: &Value) -> BTreeMap<String, Vec<String>> {
    let checks = report["checks"].as_object().expect("a report has checks");
    let failed = checks.iter().filter(|(_, check)| check["status"] == "fail");
    let told = |check: &Value| {
        let list = check["failures"].as_array().expect("a failed check has failures");
        let place = |each: &Value| match &each["packet"] {
            Value::Null => String::new(),
            packet => format!("packet {packet}: "),
        };
        let tell = |each: &Value| format!("{}{}", place(each), each["what"]);
        list.iter().map(tell).collect()
    };
    failed.map(|(name, check)| (name.clone(), told(check))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    /// The checkers' own tests: each check is shown to fail on a capture with one thing wrong.
    #[test]
    fn checkers_can_fail() {
        let output = python(Path::new("/usr/bin/python3"), "selftest.py").output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    }

    /// Linux endpoints with nothing between them: every client has its own server queue pair, so
    /// keys and words are on many, and all else is in order.
    #[test]
    fn plain_captures_are_in_order_but_for_their_keys() {
        for name in ["kv-ycsb-a-16qp.pcap", "kv-ycsb-a-2clients-16qp.pcap"] {
            let server = check("check_server.py", [sample(name)]);
            assert_eq!(server.failed_checks(), ["key", "word"], "{name}");
            let capture = sample(name).into_os_string();
            check("check_clients.py", [capture, "--pairs".into(), "auto".into()]).assert_good();
        }
        check("check_server.py", [sample("perftest-odd-sizes.pcap")]).assert_good();
    }

    /// At the client's end of a lossy link the first transmissions are all there. The plain ACK
    /// that Linux rxe sends for an atomic is found, too.
    #[test]
    fn lossy_captures_show_what_is_wrong_with_them() {
        let client = check("check_server.py", [sample("kv-ycsb-a-8qp-loss5-client.pcap")]);
        assert_eq!(client.failed_checks(), ["key", "word"]);
        let server = check("check_server.py", [sample("kv-ycsb-a-8qp-loss5-server.pcap")]);
        assert!(server.failed.contains_key("dense"), "the lost packets leave holes");
        let capture = sample("kv-ycsb-a-8qp-loss5-server.pcap").into_os_string();
        let ghost = check("check_clients.py", [capture, "--pairs".into(), "auto".into()]);
        assert_eq!(ghost.failed_checks(), ["plain_ack"]);
    }

    #[test]
    fn icrcs_of_the_samples_are_good() {
        let names = ["kv-ycsb-a-16qp.pcap", "perftest-odd-sizes.pcap", "rdmacm-write-send.pcap"];
        let files = names.map(|name| sample(name).into_os_string());
        let sampled = ["--scapy".into(), "500".into()];
        check("check_icrc.py", files.into_iter().chain(sampled)).assert_good();
    }
    #[test]
    fn icrcs_of_extra_captures_are_good() {
        let Some(folder) = crate::extra_captures("icrcs_of_extra_captures_are_good") else {
            return;
        };
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let captures: Vec<_> =
            files.filter(|file| file.extension() == Some("pcap".as_ref())).collect();
        let sample = if crate::full_tier() { "all" } else { "200" };
        let arguments = ["--scapy".into(), sample.into()].into_iter().chain(captures);
        check("check_icrc.py", arguments).assert_good();
    }
}
