//! Options that make no sense: exit status 2, and a message that names the option, the value and
//! what would be right.

use qpmux_tests::sample;
use tempfile::TempDir;

use crate::support::{SAMPLE, run_in, tree};

/// `replay` with these options is refused before it writes anything.
fn assert_refused(options: &[&str], mentions: &[&str]) {
    let folder = TempDir::new().unwrap();
    let capture = sample(SAMPLE);
    let arguments = [&["replay", capture.to_str().unwrap(), "--out", "out"], options].concat();
    run_in(folder.path(), arguments).assert_refused(mentions);
    assert!(tree(folder.path()).is_empty(), "{options:?}");
}

#[test]
fn numbers_out_of_range() {
    assert_refused(&["--server-qps", "0"], &["'0'", "--server-qps", "from 1 on, or 'all'"]);
    assert_refused(&["--server-qps", "some"], &["'some'", "--server-qps", "from 1 on, or 'all'"]);
    assert_refused(&["--server-qps=-1"], &["'-1'", "--server-qps", "from 1 on, or 'all'"]);
    assert_refused(&["--shards", "0"], &["--shards", "0 is not in 1..=64"]);
    assert_refused(&["--shards", "65"], &["--shards", "65 is not in 1..=64"]);
    assert_refused(&["--depth", "0"], &["--depth", "0 is not in 1..=255"]);
    assert_refused(&["--depth", "256"], &["--depth", "256 is not in 1..=255"]);
    assert_refused(&["--ack-every", "0"], &["--ack-every", "0 is not in 1..=1024"]);
    assert_refused(&["--client-latency-ns", "0"], &["--client-latency-ns", "not in 1..="]);
    assert_refused(&["--server-latency-ns", "2s"], &["--server-latency-ns", "'2s'"]);
}

#[test]
fn byte_orders_of_no_server() {
    assert_refused(&["--big-endian", "big"], &["'big'", "--big-endian", "invalid IP address"]);
    let absent = ["--big-endian", "10.9.0.2,10.9.0.9"];
    assert_refused(&absent, &["--big-endian 10.9.0.9", "no server has this address"]);
    let captured = ["--map", "none", "--responses", "captured", "--big-endian", "10.0.0.1"];
    assert_refused(&captured, &["--big-endian", "--responses model"]);
}

#[test]
fn unknown_words() {
    assert_refused(&["--map", "reads"], &["'reads'", "--map", "none, writes"]);
    assert_refused(&["--key-map", "x"], &["'x'", "modulo, hash, rendezvous, by-connection"]);
    assert_refused(&["--order", "x"], &["'x'", "fenced, keyed"]);
    assert_refused(&["--responses", "x"], &["'x'", "model, captured"]);
    assert_refused(&["--server-qp", "2"], &["--server-qp", "similar", "--server-qps"]);
    assert_refused(&["other.pcap"], &["unexpected argument 'other.pcap'", "Usage"]);
}

#[test]
fn commands_without_their_arguments() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| run_in(folder.path(), arguments);
    run(&[]).assert_refused(&["Usage: qpmux <COMMAND>", "inspect", "replay"]);
    run(&["inspct", "x"]).assert_refused(&["'inspct'", "similar", "inspect"]);
    run(&["inspect"]).assert_refused(&["<CAPTURE>", "--help"]);
    run(&["replay"]).assert_refused(&["<CAPTURE>", "--help"]);
}

#[test]
fn profiles_that_cannot_be_used() {
    let profile = |text: &str, mentions: &[&str]| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("profile.toml");
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        assert_refused(&["--profile", path], &[&[path], mentions].concat());
    };
    let key = |opcode: &str, rest: &str| {
        format!("name = 'mine'\n[[key]]\nopcode = '{opcode}'\nbyte_order = 'little'\n{rest}")
    };
    profile("name = 'mine\n", &["line 1"]);
    profile("name = 'mine'\nkeys = 3\n", &["line 2", "unknown field `keys`", "`key`"]);
    profile(
        &key("READ_REQUEST", "payload_len = 64\noffset = 0\nlen = 8\n"),
        &["line 3: opcode 'READ_REQUEST'", "WRITE_FIRST"],
    );
    profile(
        &key("WRITE_ONLY", "payload_len = 64\noffset = 60\nlen = 8\n"),
        &["line 6: the key ends"],
    );
    profile(&key("WRITE_ONLY", "payload_len = 64\noffset = -1\nlen = 8\n"), &["line 6", "-1"]);
    profile(
        &key("WRITE_ONLY", "payload_len = 64\noffset = 0\nlen = 9\n"),
        &["line 7: len is 9, must be 1 to 8 bytes"],
    );
    profile(&key("WRITE_ONLY", "payload_len = 64\noffset = 0\n"), &["missing field `len`"]);
    let names = qpmux_workloads::built_in_profiles().collect::<Vec<_>>().join(", ");
    let message = format!("'no-such' is not built in ({names})");
    assert_refused(&["--profile", "no-such"], &[&message]);
}
