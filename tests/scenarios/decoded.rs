//! Real packets of Clover, field by field as others have decoded them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use qpmux_engine::wire::{Classified, Layout, Opcode, classify};
use qpmux_tests::{capture, extra_captures};

/// What the decoded packets are in, and the packets: name of the trace there, and the capture.
const DECODED: &str = "clover-decoded.csv";
const TRACES: [(&str, &str); 2] = [
    ("write_steer_1_key_2_thread_100_packet_ingress", "clover-1key-2threads-ingress.pcap"),
    ("write_steer_1_key_2_thread_100_packet_egress", "clover-1key-2threads-egress.pcap"),
];

type Row = BTreeMap<String, String>;

/// The rows of the table, each cell by the name of its column.
fn rows(path: &Path) -> Vec<Row> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| -> Row {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), names.len(), "{line}");
        names.iter().zip(cells).map(|(name, cell)| ((*name).into(), cell.into())).collect()
    };
    lines.map(row).collect()
}

fn name_of(opcode: Opcode) -> &'static str {
    match opcode {
        Opcode::WriteOnly => "RC_RDMA_WRITE_ONLY",
        Opcode::ReadRequest => "RC_RDMA_READ_REQUEST",
        Opcode::ReadResponseOnly => "RC_RDMA_READ_RESPONSE_ONLY",
        Opcode::Acknowledge => "RC_ACK",
        Opcode::AtomicAcknowledge => "RC_ATOMIC_ACK",
        Opcode::CompareSwap => "RC_CMP_SWAP",
        other => panic!("Clover sends no {}", other.name()),
    }
}

/// The same row from the packet. What a packet does not have is an empty cell.
fn decode(trace: &str, index: usize, frame: &[u8]) -> Row {
    let layout = match classify(frame) {
        Ok(Classified::Rc(layout)) => layout,
        other => panic!("{trace}, {index}: {other:?}"),
    };
    let ip = usize::from(layout.ip);
    let half = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let word = |text: fn(u64) -> String, at: usize| {
        let bytes = layout.payload(frame).get(at..at + 8).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(String::new(), |bytes| text(u64::from_le_bytes(*bytes)))
    };
    let wide = |value: u64| format!("{value:#018x}");
    let cells = [
        ("trace", trace.to_owned()),
        ("idx", index.to_string()),
        ("ip_src", layout.source.to_string()),
        ("ip_dst", layout.destination.to_string()),
        ("udp_sport", layout.source_port.to_string()),
        ("ip_total_len", half(ip + 2).to_string()),
        ("ip_id", format!("{:x}", half(ip + 4))),
        ("op", format!("{:#04x}", layout.opcode.to_byte())),
        ("opname", name_of(layout.opcode).to_owned()),
        ("ackreq", u8::from(layout.ack_request).to_string()),
        ("dest_qp", format!("{:#08x}", layout.dest_qp.value())),
        ("psn", layout.psn.value().to_string()),
        ("payload_hdr_le64", word(wide, 0)),
        ("payload_key_le64", word(|key| key.to_string(), 8)),
        ("payload_byte16", layout.payload(frame).get(16).map_or(String::new(), |b| hex(*b))),
    ];
    let cells = cells.into_iter().chain(extension(&layout, frame));
    cells.map(|(name, cell)| (name.to_owned(), cell)).collect()
}

fn hex(byte: u8) -> String {
    format!("{byte:#04x}")
}

/// The cells of the headers that not every packet has.
fn extension(layout: &Layout, frame: &[u8]) -> [(&'static str, String); 8] {
    let (reth, atomic) = (layout.reth(frame), layout.atomic_eth(frame));
    let aeth = layout.aeth(frame);
    let wide = |value: Option<u64>| value.map_or(String::new(), |value| format!("{value:#018x}"));
    let address = reth.map(|reth| reth.virtual_address);
    let remote_key = reth.map(|reth| reth.remote_key);
    let length = reth.map_or(String::new(), |reth| reth.dma_length.to_string());
    [
        ("reth_or_atomic_vaddr", wide(address.or(atomic.map(|atomic| atomic.virtual_address)))),
        (
            "rkey",
            remote_key
                .or(atomic.map(|atomic| atomic.remote_key))
                .map_or(String::new(), |key| format!("{key:#010x}")),
        ),
        ("dma_len", length),
        ("swap", wide(atomic.map(|atomic| atomic.swap_or_add))),
        ("compare", wide(atomic.map(|atomic| atomic.compare))),
        ("aeth_syndrome", aeth.map_or(String::new(), |aeth| hex(aeth.syndrome.to_byte()))),
        ("msn", aeth.map_or(String::new(), |aeth| aeth.msn.value().to_string())),
        ("atomic_orig_be64", wide(layout.atomic_ack(frame).map(|ack| ack.original))),
    ]
}

#[test]
fn every_field_of_every_real_packet_is_read_as_by_others() {
    let test = "every_field_of_every_real_packet_is_read_as_by_others";
    let Some(extra) = extra_captures(test) else { return };
    if !extra.join(DECODED).is_file() {
        eprintln!("SKIPPED: {test}: no {DECODED}");
        return;
    }
    let all = rows(&extra.join(DECODED));
    for (trace, file) in TRACES {
        let expected: Vec<&Row> = all.iter().filter(|row| row["trace"] == trace).collect();
        let packets = capture::read(&extra.join(file));
        assert_eq!(packets.len(), expected.len(), "{file}");
        assert!(!packets.is_empty(), "{file}");
        for (index, (packet, expected)) in packets.iter().zip(expected).enumerate() {
            assert_eq!(&decode(trace, index, &packet.data), expected, "{file}, packet {index}");
        }
    }
}
