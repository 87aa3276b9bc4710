//! Captures that are not as they should be, and the text for people. What is counted in good
//! captures is compared with tshark in `sim/tests/inspect.rs`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use qpmux_engine::connections::symmetric_port;
use qpmux_engine::wire::{
    self, AethRepr, BthRepr, Extension, Msn, NakCode, Opcode, Psn, Qpn, RethRepr, Syndrome,
};
use qpmux_traces::CaptureWriter;

use super::*;

type TestResult = Result<(), Box<dyn std::error::Error>>;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CLIENT_QP: u32 = 0x11;
const SERVER_QP: u32 = 0x12;

/// A frame of the one connection of these tests.
fn frame(opcode: Opcode, psn: u32, extension: Extension, payload: &[u8]) -> Vec<u8> {
    let is_request = opcode.is_request();
    let (source, destination) = if is_request { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    let path = wire::Path {
        source_mac: [2; 6],
        destination_mac: [4; 6],
        source,
        destination,
        source_port: symmetric_port(Qpn::new(CLIENT_QP), Qpn::new(SERVER_QP)),
        traffic_class: 0,
        hop_limit: 64,
        identification: 0,
    };
    let bth = BthRepr {
        opcode,
        solicited: false,
        migration_request: false,
        pad_count: 0,
        partition_key: 0xffff,
        fecn: false,
        becn: false,
        dest_qp: Qpn::new(if is_request { SERVER_QP } else { CLIENT_QP }),
        ack_request: is_request,
        psn: Psn::new(psn),
    };
    let mut bytes = vec![0; 2048];
    let length = wire::build(&path, &bth, &extension, payload, &mut bytes).unwrap_or(0);
    bytes.truncate(length);
    bytes
}

fn reth(dma_length: u32) -> Extension {
    Extension::Reth(RethRepr { virtual_address: 0, remote_key: 7, dma_length })
}

fn write(psn: u32, key: u64) -> Vec<u8> {
    let mut value = vec![0; 1024];
    value[..8].copy_from_slice(&key.to_le_bytes());
    frame(Opcode::WriteOnly, psn, reth(1024), &value)
}

fn answer(psn: u32, syndrome: Syndrome) -> Vec<u8> {
    let aeth = AethRepr { syndrome, msn: Msn::new(0) };
    frame(Opcode::Acknowledge, psn, Extension::Aeth(aeth), &[])
}

fn ack(psn: u32) -> Vec<u8> {
    answer(psn, Syndrome::Ack { credits: 31 })
}

/// Writes a capture, one frame per microsecond, each with its length on the wire.
fn capture(folder: &Path, frames: &[(usize, Vec<u8>)]) -> anyhow::Result<PathBuf> {
    let path = folder.join("in.pcap");
    let mut writer = CaptureWriter::create(&path)?;
    for (i, (wire_len, data)) in frames.iter().enumerate() {
        writer.write_packet(i as u64 * 1000, *wire_len as u32, data)?;
    }
    writer.finish()?;
    Ok(path)
}

fn whole(frames: Vec<Vec<u8>>) -> Vec<(usize, Vec<u8>)> {
    frames.into_iter().map(|data| (data.len(), data)).collect()
}

fn report(
    frames: &[(usize, Vec<u8>)],
    options: &InspectOptions,
) -> Result<InspectReport, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    Ok(run(&capture(folder.path(), frames)?, options, &mut |_| {})?)
}

/// So many writes that are answered.
fn traffic(count: u32) -> Vec<Vec<u8>> {
    (0..count).flat_map(|psn| [write(psn, psn.into()), ack(psn)]).collect()
}

#[test]
fn bad_frames_are_counted_and_left_out() -> TestResult {
    let mut frames = traffic(3);
    let mut corrupt = write(3, 99);
    corrupt[100] ^= 1;
    let mut short = ack(3);
    short[39] ^= 1; // UDP length
    frames.extend([corrupt, short, vec![0xff; 60]]);
    let mut frames = whole(frames);
    // Only the first 64 bytes were captured.
    frames.push((1098, write(4, 5)[..64].to_vec()));
    let report = report(&frames, &InspectOptions::default())?;
    assert_eq!((report.packets, report.roce_packets), (10, 7));
    assert_eq!((report.icrc_bad, report.truncated_packets), (1, 1));
    assert_eq!(report.malformed.values().sum::<u64>(), 1, "{:?}", report.malformed);
    assert!(report.malformed.contains_key("UDP.length"), "{:?}", report.malformed);
    assert_eq!(report.not_roce["not_ip"], 1);
    assert_eq!(report.keys.as_ref().map(|keys| (keys.distinct, keys.requests)), Some((3, 3)));
    assert_eq!(report.connections[0].requests, 3);
    assert_eq!(report.duration_ns, 9000);
    assert_eq!(report.warnings.len(), 3, "{:?}", report.warnings);
    Ok(())
}

#[test]
fn a_capture_that_breaks_off_is_reported() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = capture(folder.path(), &whole(traffic(3)))?;
    let bytes = std::fs::read(&path)?;
    std::fs::write(&path, &bytes[..bytes.len() - 1])?;
    let report = run(&path, &InspectOptions::default(), &mut |_| {})?;
    assert!(report.truncated_tail);
    assert_eq!(report.packets, 5);
    assert!(report.render_text().contains("warning: the capture breaks off"));
    assert!(run(&folder.path().join("none"), &InspectOptions::default(), &mut |_| {}).is_err());
    Ok(())
}

#[test]
fn retransmissions_and_naks_belong_to_their_connection() -> TestResult {
    // From 0xfffffe on, past the wrap; a READ of 2,500 bytes takes 3 PSNs once the MTU is known.
    let mut frames = vec![
        frame(Opcode::WriteFirst, 0xff_fffe, reth(2048), &[0; 1024]),
        frame(Opcode::WriteLast, 0xff_ffff, Extension::None, &[0; 1024]),
        ack(0xff_ffff),
        write(0, 1),
        answer(0, Syndrome::RnrNak { timer: 1 }),
        write(0, 1),
        ack(0),
        frame(Opcode::ReadRequest, 1, reth(2500), &[]),
        answer(1, Syndrome::Nak(NakCode::PsnSequence)),
        // The tail again, as after the loss of its response's middle: not a new message.
        frame(Opcode::ReadRequest, 2, reth(1476), &[]),
    ];
    // Lost before it was captured, and sent again: resent, but seen for the first time.
    frames.extend([write(5, 1), write(4, 1), ack(5)]);
    let report = report(&whole(frames), &InspectOptions::default())?;
    let c = &report.connections[0];
    assert_eq!((c.requests, c.retransmitted, c.naks, c.rnr_naks), (8, 3, 1, 1));
    assert_eq!((c.verbs.writes, c.verbs.reads), (4, 1));
    assert_eq!((c.first_psn, c.last_psn), (Some(0xff_fffe), Some(5)));
    assert_eq!((c.path_mtu, c.path_mtu_certain), (Some(1024), true));
    assert_eq!((c.client_qpn, c.server_qpn, c.learnt_by), (CLIENT_QP, SERVER_QP, "source-port"));
    Ok(())
}

#[test]
fn numbers_used_again_are_two_connections() -> TestResult {
    let mut frames = traffic(4);
    let second = (0..6).map(|i| 5_000_000 + i);
    frames.extend(second.flat_map(|psn| [write(psn, 1), ack(psn)]));
    let report = report(&whole(frames), &InspectOptions::default())?;
    let epochs: Vec<_> = report.connections.iter().map(|c| (c.epoch, c.requests)).collect();
    // The new one is believed at its third request.
    assert_eq!(epochs, [(0, 6), (1, 4)]);
    assert_eq!(report.operations.writes, 10);
    Ok(())
}

#[test]
fn limits_are_kept_and_reported() -> TestResult {
    let frames = whole(traffic(20));
    let options = InspectOptions { keys_max: 5, ..InspectOptions::default() };
    let few_keys = report(&frames, &options)?;
    let keys = few_keys.keys.as_ref().map(|keys| (keys.distinct, keys.overflowed, keys.requests));
    assert_eq!(keys, Some((5, true, 20)));
    assert!(few_keys.render_text().contains("at least 5 in 20 writes"));

    // As many as there is room for, again and again, are not too many.
    let repeated: Vec<_> = frames.iter().take(10).chain(frames.iter().take(10)).cloned().collect();
    let keys = report(&repeated, &options)?.keys;
    assert_eq!(keys.map(|keys| (keys.distinct, keys.overflowed)), Some((5, false)));

    let one_flow = report(&frames, &InspectOptions { flows_max: 1, ..InspectOptions::default() })?;
    assert_eq!(one_flow.limits.flow_overflow_packets, 20);
    assert_eq!((one_flow.connections.len(), one_flow.unpaired.len()), (0, 1));
    assert_eq!(one_flow.warnings.len(), 2);
    Ok(())
}

#[test]
fn keys_are_where_the_profile_says() -> TestResult {
    let frames = whole(traffic(20));
    let behind_a_header = "name = 'header'\n[[key]]\nopcode = 'WRITE_ONLY'\npayload_len = 1024\n\
                           offset = 8\nlen = 8\nbyte_order = 'little'\n";
    let profile = qpmux_workloads::parse_profile("header", behind_a_header)?;
    let profile = Some(NamedProfile { name: "header".to_owned(), profile });
    let header = InspectOptions { profile, ..InspectOptions::default() };
    assert_eq!(report(&frames, &header)?.keys.map(|keys| keys.distinct), Some(1));
    let none = InspectOptions { profile: None, ..InspectOptions::default() };
    assert_eq!(report(&frames, &none)?.keys, None);
    Ok(())
}

#[test]
fn the_text_is_aligned() -> TestResult {
    let report = report(&whole(traffic(3)), &InspectOptions::default())?;
    let text = report.render_text();
    let expected = "\
packets         6
RoCEv2 packets  6
duration        0.000005 s
connections     1
operations      3
retransmitted   0
distinct keys   3 in 3 writes (kv)

opcode       packets
ACKNOWLEDGE        3
WRITE_ONLY         3

";
    let table = [
        "client             server             learnt-by    requests  send  write  read  cas  faa",
        "10.0.0.2 0x000011  10.0.0.1 0x000012  source-port         3     0      3     0    0    0",
    ];
    let rest = ["  resent  nak  rnr    mtu  bytes\n", "       0    0    0  ~1024   3480\n"];
    let rows: String = table.iter().zip(rest).map(|(row, rest)| format!("{row}{rest}")).collect();
    assert_eq!(text, format!("{expected}{rows}"));
    Ok(())
}

#[test]
fn progress_is_told() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = capture(folder.path(), &whole(traffic(1500)))?;
    let mut told = Vec::new();
    run(&path, &InspectOptions::default(), &mut |bytes| told.push(bytes))?;
    assert!(told.len() >= 3 && told.is_sorted(), "{told:?}");
    assert_eq!(told.last(), Some(&std::fs::metadata(&path)?.len()));
    Ok(())
}
