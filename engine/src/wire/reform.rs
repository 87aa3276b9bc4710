//! Requests become others: another address, other operands, a WRITE in the place of an atomic.
//!
//! A short request's ICRC is computed anew: the one that it came with was verified.

use super::atomic::{AtomicEth, AtomicEthRepr};
use super::bth::{Bth, BthRepr};
use super::fields::Field;
use super::icrc::{self, PatchTables};
use super::ipv4::{self, Ipv4, Ipv4Repr};
use super::ipv6::Ipv6;
use super::opcode::Opcode;
use super::packet::{Layout, classify};
use super::reth::{Reth, RethRepr};
use super::udp::Udp;
use super::{Classified, aeth::AethRepr};
use crate::frame::Frame;

/// Longest headers in front of a response's payload: IPv6, UDP, BTH, AETH.
const HEADERS_MAX: usize = 40 + 8 + BthRepr::LEN + AethRepr::LEN;

/// A READ for this memory instead. Its new layout.
pub(crate) fn read(frame: &mut Frame<'_>, layout: &Layout, reth: &RethRepr) -> Option<Layout> {
    reform(frame, layout, Opcode::ReadRequest, RethRepr::LEN, |body| {
        reth.emit(&mut Reth::new_checked(body).ok()?);
        Some(())
    })
}

/// An atomic with this header. Its new layout.
pub(crate) fn atomic(
    frame: &mut Frame<'_>,
    layout: &Layout,
    opcode: Opcode,
    eth: &AtomicEthRepr,
) -> Option<Layout> {
    reform(frame, layout, opcode, AtomicEthRepr::LEN, |body| {
        eth.emit(&mut AtomicEth::new_checked(body).ok()?);
        Some(())
    })
}

/// A WRITE of one word. Its new layout.
pub(crate) fn write(
    frame: &mut Frame<'_>,
    layout: &Layout,
    reth: &RethRepr,
    word: &[u8; 8],
) -> Option<Layout> {
    reform(frame, layout, Opcode::WriteOnly, RethRepr::LEN + word.len(), |body| {
        let (header, payload) = body.split_at_mut_checked(RethRepr::LEN)?;
        reth.emit(&mut Reth::new_checked(header).ok()?);
        payload.copy_from_slice(word);
        Some(())
    })
}

/// Puts `body_len` bytes behind the BTH, a multiple of 4, and makes all lengths and the ICRC fit.
fn reform(
    frame: &mut Frame<'_>,
    layout: &Layout,
    opcode: Opcode,
    body_len: usize,
    body: impl FnOnce(&mut [u8]) -> Option<()>,
) -> Option<Layout> {
    let (ip, udp, bth) = (usize::from(layout.ip), usize::from(layout.udp), usize::from(layout.bth));
    let start = bth + BthRepr::LEN;
    let end = start + body_len + icrc::LEN;
    if !frame.set_len(end) {
        return None;
    }
    let bytes = frame.bytes_mut();
    body(bytes.get_mut(start..start + body_len)?)?;
    let mut header = Bth::new_checked(bytes.get_mut(bth..start)?).ok()?;
    header.set_opcode(opcode.to_byte());
    header.set_pad_count(0);
    let datagram = u16::try_from(end - udp).ok()?;
    Udp::new_checked(bytes.get_mut(udp..bth)?).ok()?.set_length(datagram);
    let header = bytes.get_mut(ip..udp)?;
    if layout.ip_version == 4 {
        let length = u16::try_from(end - ip).ok()?;
        Ipv4::new_checked(&mut *header).ok()?.set_total_length(length);
        ipv4::fill_checksum(header.get_mut(..Ipv4Repr::LEN)?);
    } else {
        Ipv6::new_checked(header).ok()?.set_payload_length(datagram);
    }
    let Ok(Classified::Rc(layout)) = classify(bytes) else { return None };
    icrc::store(bytes, &layout);
    Some(layout)
}

/// Puts a word at the start of a response's payload. The ICRC follows: what was corrupt stays so.
pub(crate) fn payload_start(
    tables: &PatchTables,
    frame: &mut [u8],
    layout: &Layout,
    word: &[u8; 8],
) {
    let (ip, payload) = (usize::from(layout.ip), usize::from(layout.payload));
    let end = payload + word.len();
    let mut old = [0; HEADERS_MAX + 8];
    let (Some(old), Some(now)) = (old.get_mut(..end - ip), frame.get(ip..end)) else { return };
    old.copy_from_slice(now);
    word.put(frame, payload);
    tables.patch_frame(old, frame, layout);
}
