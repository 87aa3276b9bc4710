//! What the two passes make of connections that the connection manager sets up and takes down.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use qpmux_engine::connections::{Config, Evidence};
use qpmux_engine::wire::cm::{
    CmDreqRepr, CmMad, CmMessage, CmRepRepr, CmReqRepr, CmRtuRepr, gid_of_address,
};
use qpmux_engine::wire::{
    AethRepr, BthRepr, Extension, Msn, Opcode, Path, Psn, Qpn, RethRepr, Syndrome, build, build_cm,
};
use qpmux_traces::CaptureWriter;

use super::first_pass::{FirstPass, Owner, first_pass};
use super::second_pass::second_pass;
use crate::connections_file::KnownConnections;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const QPNS: [Qpn; 2] = [Qpn::new(0x11), Qpn::new(0x12)];

fn path(from_client: bool) -> Path {
    let (source, destination) = if from_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    Path {
        source_mac: [2; 6],
        destination_mac: [4; 6],
        source,
        destination,
        source_port: 0xc123,
        traffic_class: 0,
        hop_limit: 64,
        identification: 0,
    }
}

fn cm(from_client: bool, message: CmMessage) -> Vec<u8> {
    let mut frame = vec![0; 400];
    let mad = CmMad { transaction_id: 1, message };
    let len = build_cm(&path(from_client), Psn::new(0), &mad, &mut frame);
    frame.truncate(len.unwrap_or(0));
    frame
}

/// REQ, REP and RTU of a connection whose client begins at `psn`.
fn handshake(id: u32, psn: u32) -> [Vec<u8>; 3] {
    let req = CmReqRepr {
        local_comm_id: id,
        service_id: 0,
        local_ca_guid: 0,
        local_qpn: QPNS[0],
        responder_resources: 1,
        initiator_depth: 1,
        starting_psn: Psn::new(7),
        partition_key: 0xffff,
        local_gid: gid_of_address(CLIENT),
        remote_gid: gid_of_address(SERVER),
        traffic_class: 0,
        hop_limit: 64,
        transport: 0,
        flow_control: 0,
        retry_count: 7,
        path_mtu: 4,
        rnr_retry_count: 7,
        shared_receive_queue: 0,
        local_ack_timeout: 14,
    };
    let rep = CmRepRepr {
        local_comm_id: !id,
        remote_comm_id: id,
        local_qpn: QPNS[1],
        starting_psn: Psn::new(psn),
        responder_resources: 9,
        initiator_depth: 1,
        local_ca_guid: 0,
        target_ack_delay: 0,
        flow_control: 0,
        rnr_retry_count: 7,
        shared_receive_queue: 0,
    };
    let rtu = CmRtuRepr { local_comm_id: id, remote_comm_id: !id };
    [cm(true, CmMessage::Req(req)), cm(false, CmMessage::Rep(rep)), cm(true, CmMessage::Rtu(rtu))]
}

fn teardown(id: u32) -> Vec<u8> {
    let dreq = CmDreqRepr { local_comm_id: id, remote_comm_id: !id, remote_qpn: QPNS[1] };
    cm(true, CmMessage::Dreq(dreq))
}

/// A WRITE of 8 bytes and its acknowledgement.
fn write(psn: u32) -> [Vec<u8>; 2] {
    [Opcode::WriteOnly, Opcode::Acknowledge].map(|opcode| {
        let is_request = opcode == Opcode::WriteOnly;
        let bth = BthRepr {
            opcode,
            solicited: false,
            migration_request: false,
            pad_count: 0,
            partition_key: 0xffff,
            fecn: false,
            becn: false,
            dest_qp: QPNS[usize::from(is_request)],
            ack_request: is_request,
            psn: Psn::new(psn),
        };
        let reth = RethRepr { virtual_address: 64, remote_key: 3, dma_length: 8 };
        let aeth = AethRepr { syndrome: Syndrome::Ack { credits: 31 }, msn: Msn::new(1) };
        let (extension, payload) = match is_request {
            true => (Extension::Reth(reth), &[1; 8][..]),
            false => (Extension::Aeth(aeth), &[][..]),
        };
        let mut frame = vec![0; 200];
        let len = build(&path(is_request), &bth, &extension, payload, &mut frame);
        frame.truncate(len.unwrap_or(0));
        frame
    })
}

struct Passes {
    first: FirstPass,
    capture: PathBuf,
    _folder: tempfile::TempDir,
}

fn passes(frames: &[Vec<u8>], known: &str) -> anyhow::Result<Passes> {
    let folder = tempfile::tempdir()?;
    let capture = folder.path().join("made.pcap");
    let mut writer = CaptureWriter::create(&capture)?;
    for (i, frame) in frames.iter().enumerate() {
        writer.write(1000 * i as u64, frame)?;
    }
    writer.finish()?;
    let known = KnownConnections::parse("known", known)?;
    let first = first_pass(&capture, Config::default(), &known, &mut |_| {})?;
    Ok(Passes { first, capture, _folder: folder })
}

#[test]
fn what_was_agreed_upon_counts_before_what_is_seen() -> anyhow::Result<()> {
    let mut frames = handshake(5, 100).to_vec();
    (100..103).for_each(|psn| frames.extend(write(psn)));
    frames.push(teardown(5));
    let passes = passes(&frames, "")?;
    let [connection] = passes.first.connections[..] else { anyhow::bail!("one connection") };
    assert_eq!((connection.evidence, connection.client.qpn), (Evidence::Cm, QPNS[0]));
    assert_eq!(passes.first.path_mtu, [2048]);
    assert_eq!(passes.first.left_out.former_connections, 0);
    let script = second_pass(&passes.capture, &passes.first, &[], &mut |_| {})?;
    let [played] = &script.connections[..] else { anyhow::bail!("one connection") };
    assert_eq!((played.start_psn, played.path_mtu, played.depth), (Psn::new(100), 2048, 9));
    assert_eq!(played.verbs.len(), 3);
    Ok(())
}

#[test]
fn of_connections_with_one_number_the_last_is_replayed() -> anyhow::Result<()> {
    let mut frames = handshake(5, 100).to_vec();
    (100..103).for_each(|psn| frames.extend(write(psn)));
    frames.push(teardown(5));
    // One that nobody heard of, in between: too short to be learnt.
    let late = frames.len() as u64 + 1;
    frames.extend(write(103));
    let second = frames.len() as u64 + 4;
    frames.extend(handshake(6, 9_000_000));
    (9_000_000..9_000_005).for_each(|psn| frames.extend(write(psn)));
    let passes = passes(&frames, "")?;
    let first = &passes.first;
    let flow = (CLIENT, SERVER, QPNS[1]);
    let back = (SERVER, CLIENT, QPNS[0]);
    assert_eq!((first.connections.len(), first.left_out.former_connections), (1, 1));
    assert_eq!(first.owner(flow, late - 2), Owner::Former);
    assert_eq!(first.owner(flow, second), Owner::Connection(0, true));
    assert_eq!(first.owner(back, second + 1), Owner::Connection(0, false));
    assert_eq!(first.owner((CLIENT, SERVER, Qpn::new(3)), 1), Owner::Nobody);
    let script = second_pass(&passes.capture, first, &[], &mut |_| {})?;
    assert_eq!(script.connections.len(), 1);
    Ok(())
}

#[test]
fn the_operators_list_is_believed() -> anyhow::Result<()> {
    // Two round trips of one PSN: too little to learn from.
    let frames: Vec<_> = write(5).into_iter().chain(write(5)).collect();
    assert_eq!(passes(&frames, "")?.first.connections.len(), 0);
    let known = "[[connection]]\nclient = '10.0.0.2:0x11'\nserver = '10.0.0.1:0x12'\n";
    let passes = passes(&frames, known)?;
    let [connection] = passes.first.connections[..] else { anyhow::bail!("one connection") };
    assert_eq!(connection.evidence, Evidence::Configured);
    let script = second_pass(&passes.capture, &passes.first, &[], &mut |_| {})?;
    assert_eq!(script.connections.len(), 1);
    Ok(())
}

/// Where the next connection with its numbers began is not certain then.
#[test]
fn a_connection_that_only_went_silent_is_left_out() -> anyhow::Result<()> {
    let mut frames = handshake(5, 100).to_vec();
    (100..103).for_each(|psn| frames.extend(write(psn)));
    frames.extend((0..3).map(|i| write(7_000_000 + i)[0].clone()));
    let passes = passes(&frames, "")?;
    let left_out = passes.first.left_out;
    assert_eq!((passes.first.connections.len(), left_out.former_connections), (0, 1));
    Ok(())
}

#[test]
fn packets_after_a_teardown_are_nobodys() -> anyhow::Result<()> {
    let mut frames = handshake(5, 100).to_vec();
    (100..103).for_each(|psn| frames.extend(write(psn)));
    frames.push(teardown(5));
    let late = frames.len() as u64 + 1;
    frames.extend(write(7_000_000));
    let passes = passes(&frames, "")?;
    let flow = (CLIENT, SERVER, QPNS[1]);
    assert_eq!(passes.first.owner(flow, late - 2), Owner::Connection(0, true));
    assert_eq!(passes.first.owner(flow, late), Owner::Nobody);
    Ok(())
}
