//! What a configuration may say.

use crate::config::Settings;

const PORTS: &str = "[client]\ninterface = 'eth1'\n[server]\ninterface = 'eth2'\n";

fn with(rest: &str) -> Result<Settings, String> {
    let text = |error| format!("{:#}", anyhow::Error::new(error));
    let settings = Settings::parse(&format!("{PORTS}{rest}")).map_err(text)?;
    settings.engine().map_err(text)?;
    Ok(settings)
}

#[test]
fn two_interfaces_are_enough() {
    let settings = with("").unwrap();
    assert_eq!((settings.frames(), settings.frame_len_max()), (8_192 + 2_048 + 128, 9_216));
    assert_eq!(settings.client.interface, "eth1");
}

#[test]
fn everything_can_be_said() {
    with(
        "[policy]\nmap = 'writes'\nkey_map = 'by-connection'\nserver_qps = 4\n\
        order = 'keyed'\nprofile = 'kv'\n[limits]\nframes = 1000\nframe_len_max = 4096\n\
        requests_max = 100\nheld_responses_max = 100\nserver_timeout_ns = 1000000\n\
        socket_buffer_bytes = 65536\nclient_window_max = 8\nserver_window_max = 8\n\
        atomic_results = 4\nserver_retries_max = 3\n",
    )
    .unwrap();
    with("[policy]\nserver_qps = 'all'\n").unwrap();
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
    assert!(refused("[metrics]\n").contains("line 5"));
    let error = Settings::parse("[client]\ninterface = 'a'\n").unwrap_err().to_string();
    assert!(error.contains("server"), "{error}");
}

#[test]
fn values_are_checked_before_the_start() {
    let refused = |rest: &str| with(rest).unwrap_err();
    let error = Settings::parse(&PORTS.replace("eth2", "eth1")).unwrap_err().to_string();
    assert_eq!(error, "server.interface is eth1, must be another interface than client.interface");
    assert!(refused("[limits]\nframe_len_max = 9217\n").contains("1,518 to 9,216"));
    assert!(refused("[limits]\nframes = 255\n").contains("limits.frames is 255"));
    assert!(refused("[limits]\nsocket_buffer_bytes = 1\n").contains("65,536"));
    assert!(refused("[limits]\natomic_results = 0\n").contains("atomic_results is 0"));
    assert!(refused("[policy]\nprofile = 'no-such'\n").contains("not built in"));
}
