//! What both ends of a connection know of it, and the checks any frame has to pass first.

use std::net::{IpAddr, Ipv4Addr};

use qpmux_engine::wire::{
    BthRepr, Classified, Ethernet, EthernetRepr, Extension, Layout, Opcode, Path, Psn, Qpn, build,
    build_cnp, classify, icrc, insert_tag,
};

use super::violations::Violations;

/// More bytes than a frame has beside its payload.
const HEADERS_MAX: usize = 128;

/// What the wire to an endpoint may do to frames. Rules that such a wire can seem to break are
/// only enforced where it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Frames may be lost.
    pub may_lose: bool,
    /// Frames may overtake each other, or come twice.
    pub may_reorder: bool,
    /// Frames may be damaged.
    pub may_corrupt: bool,
}

impl Wire {
    /// Delivers everything once, in order, intact.
    pub const FAITHFUL: Self = Self { may_lose: false, may_reorder: false, may_corrupt: false };
    /// Loses frames but keeps their order.
    pub const LOSSY: Self = Self { may_lose: true, may_reorder: false, may_corrupt: true };
    /// Does whatever a network can do.
    pub const ANY: Self = Self { may_lose: true, may_reorder: true, may_corrupt: true };
}

/// One end's view of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Number of this end's queue pair, the destination QP of what arrives.
    pub qpn: Qpn,
    /// Number of the other end's queue pair, the destination QP of what is sent.
    pub peer_qpn: Qpn,
    /// Addresses of what is sent; what arrives must have them the other way round (as rxe demands,
    /// rxe_recv.c).
    pub path: Path,
    /// UDP source port of what arrives; `None` takes that of the first frame.
    pub peer_source_port: Option<u16>,
    /// Partition key of both directions.
    pub partition_key: u16,
    /// 802.1Q tag of what is sent: priority (3 bits), drop eligible (1) and VLAN (12).
    pub tag: Option<u16>,
    /// That of what arrives.
    pub peer_tag: Option<u16>,
    /// The M bit of what is sent. What arrives must keep the M bit of the first frame.
    pub migration_request: bool,
    /// Path MTU, bytes of payload: 256, 512, 1024, 2048 or 4096.
    pub pmtu: usize,
    /// What the wire towards this end may do.
    pub wire: Wire,
}

impl Link {
    /// A link between two QPs of two hosts, by IPv4 addresses, with the defaults of rxe: path MTU
    /// 1024, default partition, M = 0.
    pub fn new(host: Ipv4Addr, qpn: u32, peer: Ipv4Addr, peer_qpn: u32) -> Self {
        let mac = |ip: Ipv4Addr| {
            let [a, b, c, d] = ip.octets();
            [2, 0, a, b, c, d]
        };
        // Symmetric in both numbers, like the flow label of Linux, so both directions share it.
        let source_port = 0xc000 | (qpn.wrapping_mul(peer_qpn) & 0x3fff) as u16;
        let path = Path {
            source_mac: mac(host),
            destination_mac: mac(peer),
            source: IpAddr::V4(host),
            destination: IpAddr::V4(peer),
            source_port,
            traffic_class: 0,
            hop_limit: 64,
            identification: 0,
        };
        Self {
            qpn: Qpn::new(qpn),
            peer_qpn: Qpn::new(peer_qpn),
            path,
            peer_source_port: None,
            partition_key: 0xffff,
            tag: None,
            peer_tag: None,
            migration_request: false,
            pmtu: 1024,
            wire: Wire::ANY,
        }
    }

    /// The same link as the other end sees it.
    pub fn reversed(&self) -> Self {
        let path = Path {
            source_mac: self.path.destination_mac,
            destination_mac: self.path.source_mac,
            source: self.path.destination,
            destination: self.path.source,
            ..self.path
        };
        let (tag, peer_tag) = (self.peer_tag, self.tag);
        Self { qpn: self.peer_qpn, peer_qpn: self.qpn, path, tag, peer_tag, ..self.clone() }
    }

    /// Writes one frame of this end to `out`; its length, or `None` if `out` is too small.
    pub fn emit(&self, packet: &Packet<'_>, identification: u16, out: &mut [u8]) -> Option<usize> {
        let bth = BthRepr {
            opcode: packet.opcode,
            solicited: false,
            migration_request: self.migration_request,
            pad_count: 0,
            partition_key: self.partition_key,
            fecn: false,
            becn: false,
            dest_qp: self.peer_qpn,
            ack_request: packet.ack_request,
            psn: packet.psn,
        };
        let path = Path { identification, ..self.path };
        let len = build(&path, &bth, &packet.extension, packet.payload, out)?;
        match self.tag {
            Some(tag) => insert_tag(out, len, tag),
            None => Some(len),
        }
    }

    /// One frame of this end by itself, or `None` if its payload is too long for one.
    pub fn frame(&self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        let mut frame = vec![0; packet.payload.len() + HEADERS_MAX];
        let len = self.emit(packet, 0, &mut frame)?;
        frame.truncate(len);
        Some(frame)
    }

    /// Writes a notification of congestion to the other end (RoCEv2 annex A17.9.3) to `out`; its
    /// length, or `None` if `out` is too small.
    pub fn emit_notice(&self, out: &mut [u8]) -> Option<usize> {
        let bth = BthRepr {
            opcode: Opcode::SendOnly,
            solicited: false,
            migration_request: self.migration_request,
            pad_count: 0,
            partition_key: self.partition_key,
            fecn: false,
            becn: true,
            dest_qp: self.peer_qpn,
            ack_request: false,
            psn: Psn::new(0),
        };
        let len = build_cnp(&self.path, &bth, out)?;
        match self.tag {
            Some(tag) => insert_tag(out, len, tag),
            None => Some(len),
        }
    }
}

/// What is special about one frame on a link.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// What it does.
    pub opcode: Opcode,
    /// Its sequence number.
    pub psn: Psn,
    /// Whether it asks for an ACK.
    pub ack_request: bool,
    /// Its headers after the BTH.
    pub extension: Extension,
    /// Its payload.
    pub payload: &'a [u8],
}

/// The check of everything that does not depend on the transport's state.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    /// Id of the rule broken by a frame on the wrong path.
    path_rule: &'static str,
    source_port: Option<u16>,
    migration_request: Option<bool>,
}

impl Admission {
    pub(super) fn new(link: &Link, path_rule: &'static str) -> Self {
        Self { path_rule, source_port: link.peer_source_port, migration_request: None }
    }

    /// The frame's layout if it is for this end of the link and intact.
    pub(super) fn admit(
        &mut self,
        link: &Link,
        now: u64,
        frame: &[u8],
        violations: &mut Violations,
    ) -> Option<Layout> {
        let layout = intact(link, now, frame, violations)?;
        if layout.dest_qp != link.qpn {
            let (found, own) = (layout.dest_qp, link.qpn);
            violations.record("I-X1", now, || format!("frame for QP {found} came to {own}"));
            return None;
        }
        let bth = layout.bth(frame);
        let from = (layout.source, layout.destination);
        if from != (link.path.destination, link.path.source) {
            violations.record(self.path_rule, now, || format!("wrong addresses {from:?}"));
            return None;
        }
        if bth.partition_key != link.partition_key {
            let key = bth.partition_key;
            violations.record(self.path_rule, now, || format!("P_Key {key:#x}"));
            return None;
        }
        let tag = if layout.is_tagged() { tag_of(frame) } else { None };
        if tag != link.peer_tag {
            violations.record(self.path_rule, now, || format!("802.1Q tag {tag:x?}"));
            return None;
        }
        self.admit_own(now, &layout, bth.migration_request, violations);
        Some(layout)
    }

    /// Admits a frame that the other end of the link has written, and that nobody has changed.
    pub(super) fn admit_own(
        &mut self,
        now: u64,
        layout: &Layout,
        migration_request: bool,
        violations: &mut Violations,
    ) {
        let port = layout.source_port;
        if *self.source_port.get_or_insert(port) != port {
            violations.record(self.path_rule, now, || format!("UDP source port became {port}"));
        }
        let m = migration_request;
        if *self.migration_request.get_or_insert(m) != m {
            violations.record(self.path_rule, now, || format!("M became {m}"));
        }
    }
}

fn tag_of(frame: &[u8]) -> Option<u16> {
    let view = Ethernet::new_checked(frame).ok()?;
    EthernetRepr::parse(&view).ok()?.tag
}

/// The frame's layout if it is RoCEv2 and undamaged.
fn intact(link: &Link, now: u64, frame: &[u8], violations: &mut Violations) -> Option<Layout> {
    let problem = match classify(frame) {
        Ok(Classified::Rc(layout)) if icrc::verify(frame, &layout) => return Some(layout),
        Ok(Classified::Rc(layout)) => format!("wrong ICRC, PSN {}", layout.psn),
        // Congestion notifications, and what is not RoCE at all, are none of the transport's.
        Ok(Classified::Other(_)) => return None,
        Err(error) => error.to_string(),
    };
    if !link.wire.may_corrupt {
        violations.record("O9", now, || problem);
    }
    None
}
