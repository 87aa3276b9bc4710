//! What is only looked at passes as it is.

use super::{frames, port, run, sample};

#[test]
fn all_frames_of_both_sides_pass_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let [to_client, to_server] =
        ["client.pcap", "server.pcap"].map(|name| folder.path().join(name));
    let (client, server) = (sample("perftest-odd-sizes.pcap"), sample("rdmacm-write-send.pcap"));
    let configuration = format!(
        "[client]\nport = '{}'\n[server]\nport = '{}'",
        port(0, &client, &to_client),
        port(1, &server, &to_server),
    );
    let report = run(folder.path(), &configuration);
    assert_eq!(frames(&to_server), frames(&client), "{report:#}");
    assert_eq!(frames(&to_client), frames(&server), "{report:#}");
    assert_eq!(report["open"]["buffers"], 0, "{report:#}");
}
