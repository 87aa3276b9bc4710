//! What a configuration may say.

use std::net::SocketAddr;
use std::path::Path;

use crate::config::{LogFormat, Settings, StopRule};

pub(super) const PORTS: &str = "[client]\ninterface = 'eth1'\n[server]\ninterface = 'eth2'\n";

/// These settings between two interfaces, if they are good.
pub(super) fn with(rest: &str) -> Result<Settings, String> {
    let text = |error| format!("{:#}", anyhow::Error::new(error));
    let settings = Settings::parse(&format!("{PORTS}{rest}")).map_err(text)?;
    settings.engine().map_err(text)?;
    Ok(settings)
}

#[test]
fn two_interfaces_are_enough() {
    let settings = with("").unwrap();
    assert_eq!((settings.frames(), settings.frame_len_max()), (8_192 + 2_048 + 128, 9_216));
    assert_eq!(settings.client.interface.as_deref(), Some("eth1"));
}

#[test]
fn everything_can_be_said() {
    with(
        "[policy]\nmap = 'writes'\nkey_map = 'by-connection'\nserver_qps = 4\n\
        order = 'keyed'\nprofile = 'kv'\n[limits]\nframes = 1000\nframe_len_max = 4096\n\
        requests_max = 100\nheld_responses_max = 100\nserver_timeout_ns = 1000000\n\
        socket_buffer_bytes = 65536\nclient_window_max = 8\nserver_window_max = 8\n\
        atomic_results = 4\nserver_retries_max = 3\naddresses_max = 10\nwords_max = 10\n\
        lists_max = 10\nnodes_max = 10\nshed_overload = false\n\
        grants_max = 10\ndeclined_keys_max = 10\nresume_wait_ns = 1000000000\n[[region]]\n\
        server = '10.0.0.1'\nrkey = 1\nstart = 0\nlen = 64\nrights = ['read', 'write']\n\
        [[server_memory]]\nserver = '10.0.0.1'\nbyte_order = 'big'\n[[server_memory]]\n\
        server = '10.0.0.2'\nbyte_order = 'little'\n",
    )
    .unwrap();
    for policy in [
        "server_qps = 'all'",
        "map = 'all'\ntrust = 'observed'\natomics = 'replace'",
        "map = 'all'\ntrust = 'observed'\nsteer = 'all'\nprofile = 'clover'",
        "map = 'writes'\ntrust = 'observed'\nsteer = 'writes'\nprofile = 'clover'",
        "steer = 'all'\nin_place = true\nprofile = 'clover'",
        "steer = 'none'\nin_place = false\natomics = 'keep'",
        "map = 'writes'\ntrust = 'observed'\n[policy.most]\nmap = 'all'\natomics = 'replace'",
    ] {
        with(&format!("[policy]\n{policy}\n")).unwrap();
    }
}

#[test]
fn choices_that_contradict_each_other_are_refused_with_key_and_remedy() {
    let refused = |policy: &str, key: &str, remedy: &str| {
        let error = with(&format!("[policy]\ntrust = 'observed'\n{policy}\n")).unwrap_err();
        assert!(error.starts_with(key) && error.contains(remedy), "{policy}: {error}");
    };
    let clover = "profile = 'clover'\nsteer = 'all'";
    refused(&format!("{clover}\nmap = 'all'\nin_place = true"), "policy.in_place", "map none");
    refused("in_place = true", "policy.in_place", "steer writes or all");
    refused(clover, "policy.steer", "map writes or all");
    refused(&format!("{clover}\nmap = 'writes'"), "policy.steer", "map all");
    refused("atomics = 'replace'", "policy.atomics", "map writes or all");
    let own = "map = 'all'\nkey_map = 'by-connection'";
    refused(&format!("{own}\natomics = 'replace'"), "policy.key_map", "by-connection");
    refused("map = 'all'\nsteer = 'all'", "policy.profile", "[list]");
    refused(
        "map = 'all'\n[limits]\naddresses_max = 0",
        "limits.addresses_max is 0",
        "1 or more: policy.map",
    );
    refused(
        "map = 'all'\natomics = 'replace'\n[limits]\nwords_max = 0",
        "limits.words_max is 0",
        "1 or more: policy.atomics",
    );
    for table in ["lists_max", "nodes_max"] {
        let without = format!("{clover}\nmap = 'all'\n[limits]\n{table} = 0");
        refused(&without, &format!("limits.{table} is 0"), "1 or more: policy.steer");
    }
    let most = "map = 'writes'\n[policy.most]\natomics = 'replace'";
    let wordless = format!("{most}\n[limits]\nwords_max = 0");
    refused(&wordless, "limits.words_max is 0", "1 or more: policy.atomics");
    refused(&most.replace("writes", "none"), "policy.most", "map writes or all");
    refused("[policy.most]\nmap = 'all'", "policy.most", "map none cannot be switched");
    refused("map = 'writes'\n[policy.most]\nsteer = 'all'", "policy.most", "map all");
    let error = with("[policy]\nmap = 'all'\n").unwrap_err();
    assert!(error.starts_with("policy.trust") && error.contains("[[region]]"), "{error}");
}

#[test]
fn a_server_has_one_byte_order() {
    let table =
        |order: &str| format!("[[server_memory]]\nserver = '10.0.0.1'\nbyte_order = '{order}'\n");
    let error = with(&(table("big") + &table("little"))).unwrap_err();
    assert!(error.contains("server_memory.server is 10.0.0.1"), "{error}");
    assert!(with(&table("middle")).unwrap_err().contains("`little` or `big`"));
}

#[test]
fn what_is_unknown_is_refused_with_its_line() {
    let refused = |rest: &str| with(rest).unwrap_err();
    let error = refused("[limits]\nframez = 1\n");
    assert!(error.contains("line 6") && error.contains("framez"), "{error}");
    let error = refused("[policy]\nmap = 'all-of-it'\n");
    assert!(error.contains("line 6") && error.contains("all-of-it"), "{error}");
    for qps in ["0", "-1", "'some'"] {
        let error = refused(&format!("[policy]\nserver_qps = {qps}\n"));
        assert!(error.contains("line 6") && error.contains("from 1 on"), "{error}");
    }
    assert!(refused("[metric]\n").contains("line 5"));
    let error = Settings::parse("[client]\ninterface = 'a'\n").unwrap_err().to_string();
    assert!(error.contains("server"), "{error}");
}

#[test]
fn values_are_checked_before_the_start() {
    let refused = |rest: &str| with(rest).unwrap_err();
    let error = Settings::parse(&PORTS.replace("eth2", "eth1")).unwrap_err().to_string();
    assert_eq!(error, "server.interface is eth1, must be another one than the client's");
    assert!(refused("[limits]\nframe_len_max = 9217\n").contains("1,518 to 9,216"));
    assert!(refused("[limits]\nframes = 255\n").contains("limits.frames is 255"));
    assert!(refused("[limits]\nsocket_buffer_bytes = 1\n").contains("65,536"));
    assert!(refused("[limits]\natomic_results = 0\n").contains("atomic_results is 0"));
    assert!(refused("[policy]\nprofile = 'no-such'\n").contains("not built in"));
}

/// Settings with these lines above the tables.
fn above(lines: &str) -> Result<Settings, String> {
    Settings::parse(&format!("{lines}\n{PORTS}")).map_err(|error| error.to_string())
}

#[test]
fn there_is_one_version() {
    assert_eq!(above("version = 1").unwrap(), with("").unwrap());
    for other in ["0", "2", "4294967295"] {
        let error = above(&format!("version = {other}")).unwrap_err();
        let words = format!("version is {other}, must be 1: this program reads no other format");
        assert!(error.contains("line 1") && error.contains(&words), "{error}");
    }
    assert!(above("version = 'one'").unwrap_err().contains("line 1"));
}

#[test]
fn servers_are_named_by_subnet() {
    let some = above("servers = [\"192.0.2.0/24\", \"2001:db8::/32\"]").unwrap().servers;
    assert!(some.contain("192.0.2.7".parse().unwrap()));
    assert!(!some.contain("192.0.3.7".parse().unwrap()));
    assert!(above("servers = []").unwrap().servers.is_empty());
    let memory = "[[server_memory]]\nserver = '10.0.0.1'\nbyte_order = 'big'\n";
    let named = |servers: &str| {
        Settings::parse(&format!("servers = ['{servers}']\n{PORTS}{memory}"))
            .map_err(|error| error.to_string())
    };
    named("10.0.0.0/24").unwrap();
    let error = named("10.0.1.0/24").unwrap_err();
    assert!(error.starts_with("server_memory.server is 10.0.0.1, must be one of"), "{error}");
    let error = above("servers = [\"192.0.2.0/24\", \"192.0.2.1/24\"]").unwrap_err();
    assert!(error.contains("line 1") && error.contains("behind its prefix"), "{error}");
}

#[test]
fn workers_are_configured() {
    let on = |ports: &str, rest: &str| {
        Settings::parse(&format!("{rest}\n{ports}")).map_err(|error| error.to_string())
    };
    let ports = "[client]\nport = 'a'\n[server]\nport = 'b'\n";
    let plain = with("").unwrap();
    assert_eq!((plain.cores(), plain.shares().workers()), (vec![None], 1));
    let two = "[[worker]]\ncore = 3\nservers = ['192.0.2.0/25']\n[[worker]]\n";
    let settings = on(ports, two).unwrap();
    assert_eq!(settings.cores(), [Some(3), None]);
    assert_eq!(settings.shares().of_server([192, 0, 2, 100].into()), 0);
    on(PORTS, "[[worker]]\ncore = 1\n").unwrap();
    for (ports, rest, complaint) in [
        (PORTS, two, "worker is there 2 times, must be there once at most: several workers need"),
        (ports, "[[worker]]\ncore = 1\n[[worker]]\ncore = 1\n", "worker.core is 1, must be anot"),
        (
            ports,
            "[[worker]]\nservers = ['10.0.0.0/8']\n[[worker]]\nservers = ['10.1.0.0/16']\n",
            "worker.servers is 10.1.0.0 to 10.1.255.255, must be in one [[worker]] only",
        ),
        (
            ports,
            "servers = ['192.0.2.0/24']\n[[worker]]\nservers = ['192.0.3.1']\n",
            "worker.servers is 192.0.3.1 to 192.0.3.1, must be among servers",
        ),
    ] {
        let error = on(ports, rest).unwrap_err();
        assert!(error.starts_with(complaint), "{error}");
    }
    let error = on(ports, &"[[worker]]\n".repeat(17)).unwrap_err();
    assert!(error.contains("16 times at most"), "{error}");
}

#[test]
fn a_journal_is_of_its_configuration() {
    let journal = "[journal]\nfolder = '/var/lib/x'\n";
    assert!(with("").unwrap().journal_place(0).is_none());
    let sum = |rest: &str| {
        with(&format!("{journal}{rest}")).unwrap().journal_place(0).unwrap().configuration
    };
    let plain = sum("");
    assert_eq!(plain, sum("[log]\nformat = 'json'\n[metrics]\nlisten = 'off'\n"));
    assert_ne!(plain, sum("[policy]\nmap = 'writes'\ntrust = 'observed'\n"));
    assert_ne!(plain, sum("[network]\npath_mtu = 1024\n"));
    let refused = |rest: &str| with(rest).unwrap_err();
    assert!(refused("[journal]\nfolder = 'x'\n").contains("must be an absolute path"));
    assert!(refused("[journal]\nsegment_bytes = 1\n").contains("journal.segment_bytes is 1"));
    let steers = format!(
        "{journal}[policy]\nmap = 'all'\ntrust = 'observed'\nprofile = 'clover'\nsteer = 'all'\n"
    );
    assert!(refused(&steers).contains("no log can be kept"), "{}", refused(&steers));
}

#[test]
fn operations_are_configured() {
    let plain = with("").unwrap();
    assert_eq!((plain.control.socket, plain.control.stop), (None, StopRule::Ask));
    assert_eq!(plain.log.format, LogFormat::Text);
    assert_eq!(plain.metrics.listen(), Some(SocketAddr::from(([127, 0, 0, 1], 9_477))));
    assert!(!plain.metrics.is_named());
    let full = with(
        "[control]\nsocket = '/run/qpmux-live/control'\nstop = 'force'\n\
        [metrics]\nlisten = '[::1]:9000'\n[log]\nformat = 'json'\n",
    )
    .unwrap();
    assert_eq!(full.control.socket.as_deref(), Some(Path::new("/run/qpmux-live/control")));
    assert_eq!((full.control.stop, full.log.format), (StopRule::Force, LogFormat::Json));
    assert_eq!(full.metrics.listen(), Some("[::1]:9000".parse().unwrap()));
    assert!(full.metrics.is_named());
    assert_eq!(with("[metrics]\nlisten = 'off'\n").unwrap().metrics.listen(), None);
    let refused = |rest: &str| with(rest).unwrap_err();
    assert!(refused("[control]\nsocket = 'control'\n").contains("an absolute path"));
    let long = format!("[control]\nsocket = '/{}'\n", "x".repeat(107));
    assert!(refused(&long).contains("at most 107 bytes"));
    assert!(refused("[control]\nstop = 'never'\n").contains("`ask` or `force`"));
    assert!(refused("[metrics]\nlisten = 'localhost'\n").contains("an address with a port"));
    assert!(refused("[log]\nformat = 'xml'\n").contains("`text` or `json`"));
}

#[test]
fn only_a_port_for_both_sides_is_shared_with_the_kernel() {
    let told = |side: &str, rest: &str| {
        let text = format!(
            "servers = ['10.0.0.0/24']\n[client]\nport = 'net_a0'\n[server]\nport = '{side}'\n\
            [dpdk]\nisolate = true\n{rest}"
        );
        Settings::parse(&text).map(drop).map_err(|error| error.to_string())
    };
    told("net_a0", "").unwrap();
    let two = told("net_b0", "").unwrap_err();
    assert!(two.starts_with("dpdk.isolate is true, must be false, unless"), "{two}");
    let several = told("net_a0", "[[worker]]\n[[worker]]\n").unwrap_err();
    assert!(several.starts_with("dpdk.isolate"), "{several}");
}

#[test]
fn two_hosts_need_what_each_of_them_keeps() {
    let told = |rest: &str, more: &str| {
        let both = "[standby]\nlisten = '10.9.9.1:1'\npeer = '10.9.9.2:1'\nbegins = 'speaking'\n";
        with(&format!("{both}{more}{rest}")).map(drop).unwrap_err()
    };
    let journal = "[journal]\nfolder = '/var/lib/q'\n";
    assert!(told("", "").contains("with a [journal] folder"));
    assert!(told("[journal]\nfolder = '/q'\nform = 1\n", "").starts_with("journal.form is 1"));
    for (wrong, key) in [
        ("lease_ms = 5\n", "standby.lease_ms"),
        ("lag_bytes = 2000000000\n", "standby.lag_bytes"),
        ("arbiter = 'here'\n", "standby.arbiter"),
        ("fence = ['off']\n", "standby.arbiter or fence"),
        ("lease = 5\n", "TOML"),
    ] {
        let error = told(journal, wrong);
        assert!(error.starts_with(key), "{wrong}: {error}");
    }
}
