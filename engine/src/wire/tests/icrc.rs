//! The invariant CRC: what it covers, and that a patch is as good as a recompute.

use super::*;
use crate::wire::icrc::{compute, store, verify};

/// A second implementation, straight from the definition.
fn by_definition(frame: &[u8], layout: &Layout) -> u32 {
    let mut packet = vec![0xff; 8];
    packet.extend(&frame[layout.ip.into()..layout.icrc.into()]);
    for at in variant_bytes(layout) {
        packet[8 + at] = 0xff;
    }
    if layout.ip_version == 6 {
        packet[8] |= 0x0f;
    }
    let mut crc = !0_u32;
    for byte in packet {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// Offsets, from the IP header, of bytes that the ICRC leaves out (half of one more in IPv6).
fn variant_bytes(layout: &Layout) -> Vec<usize> {
    match layout.ip_version {
        4 => vec![1, 8, 10, 11, 26, 27, 32],
        _ => vec![1, 2, 3, 7, 46, 47, 52],
    }
}

/// Good frame, its layout, and new bytes for the start of its packet in whole words.
fn any_rewrite() -> impl Strategy<Value = (Vec<u8>, Layout, Vec<u8>)> {
    any_sent().prop_flat_map(|sent| {
        let frame = sent.frame();
        let layout = layout(&frame);
        let words = usize::from(layout.icrc - layout.ip) / 4;
        let header = proptest::collection::vec(any::<Option<[u8; 4]>>(), 0..=words.min(25));
        header.prop_map(move |words| {
            let old = frame[layout.ip.into()..].chunks(4);
            let new = words.iter().zip(old).flat_map(|(new, old)| match new {
                Some(new) => new.to_vec(),
                None => old.to_vec(),
            });
            (frame.clone(), layout, new.collect())
        })
    })
}

/// Puts `new` at the start of the packet and patches the ICRC.
fn rewrite(tables: &PatchTables, frame: &mut [u8], layout: &Layout, new: &[u8]) {
    let ip = usize::from(layout.ip);
    let old = frame[ip..ip + new.len()].to_vec();
    frame[ip..ip + new.len()].copy_from_slice(new);
    tables.patch_frame(&old, frame, layout);
}

fn stored(frame: &[u8], layout: &Layout) -> u32 {
    let at = usize::from(layout.icrc);
    u32::from_le_bytes(frame[at..at + 4].try_into().unwrap())
}

std::thread_local! {
    static TABLES: PatchTables = PatchTables::new(4400);
}

proptest! {
    #[test]
    fn follows_the_definition(sent in any_sent()) {
        let mut frame = sent.frame();
        let layout = layout(&frame);
        prop_assert_eq!(compute(&frame, &layout), by_definition(&frame, &layout));
        prop_assert_eq!(stored(&frame, &layout), by_definition(&frame, &layout));

        let built = frame.clone();
        frame[usize::from(layout.icrc)..usize::from(layout.end)].fill(0x5a);
        store(&mut frame, &layout);
        prop_assert_eq!(frame, built);
    }

    #[test]
    fn patch_equals_recompute((mut frame, layout, new) in any_rewrite()) {
        let before = frame.clone();
        TABLES.with(|tables| rewrite(tables, &mut frame, &layout, &new));
        prop_assert_eq!(stored(&frame, &layout), by_definition(&frame, &layout));

        let ip = usize::from(layout.ip);
        prop_assert_eq!(&frame[ip..ip + new.len()], new.as_slice());
        prop_assert_eq!(&frame[..ip], &before[..ip]);
        let rest = ip + new.len()..usize::from(layout.icrc);
        prop_assert_eq!(&frame[rest.clone()], &before[rest]);
        prop_assert_eq!(&frame[layout.end.into()..], &before[layout.end.into()..]);
    }

    /// Not only is it still wrong: it is wrong by the same bits, so a patch back is right.
    #[test]
    fn corrupted_frame_stays_corrupted(
        (mut frame, layout, new) in any_rewrite(),
        at: prop::sample::Index,
        flip in 1_u8..,
    ) {
        let covered = usize::from(layout.ip)..usize::from(layout.end);
        let at = covered.start + at.index(covered.len());
        let original = frame.clone();
        frame[at] ^= flip;
        let wrong = stored(&frame, &layout) ^ by_definition(&frame, &layout);
        let damaged = frame.clone();

        TABLES.with(|tables| rewrite(tables, &mut frame, &layout, &new));
        prop_assert_eq!(stored(&frame, &layout) ^ by_definition(&frame, &layout), wrong);
        prop_assert_eq!(verify(&frame, &layout), wrong == 0);
        let ip = usize::from(layout.ip);
        TABLES.with(|tables| rewrite(tables, &mut frame, &layout, &damaged[ip..ip + new.len()]));
        prop_assert_eq!(frame, damaged);
        prop_assert!(wrong != 0 || verify(&original, &layout));
    }

    #[test]
    fn headers_without_variant_bits_are_patched_alone(
        headers in bytes(any::<[u8; 2]>(), 0..100),
        tail in bytes(any::<u8>(), 0..300),
        seed: u32,
        whole_words: bool,
    ) {
        let (mut headers, mut tail) = (headers, tail);
        if whole_words {
            headers.truncate(headers.len() / 4 * 4);
            tail.truncate(tail.len() / 4 * 4);
        }
        let [old, new]: [Vec<u8>; 2] =
            [0, 1].map(|which| headers.iter().map(|pair| pair[which]).collect());
        let crc = |header: &[u8]| {
            let mut crc = crc32fast::Hasher::new_with_initial(seed);
            crc.update(header);
            crc.update(&tail);
            crc.finalize()
        };
        // The smallest tables, so that the longer tails take several steps.
        let patched = PatchTables::new(0).patch(&old, &new, tail.len(), crc(&old));
        prop_assert_eq!(patched, crc(&new));
    }
}

#[test]
fn covers_every_bit_but_the_variant_ones() {
    for source in [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let path = Path {
            source_mac: [2; 6],
            destination_mac: [4; 6],
            source,
            destination: source,
            source_port: 0xc123,
            traffic_class: 2,
            hop_limit: 64,
            identification: 9,
        };
        let bth = BthRepr {
            opcode: Opcode::SendOnly,
            solicited: true,
            migration_request: true,
            pad_count: 0,
            partition_key: 0xffff,
            fecn: false,
            becn: false,
            dest_qp: Qpn::new(0x0012_3456),
            ack_request: true,
            psn: Psn::new(0x00fe_dcba),
        };
        let mut frame = [0; 200];
        let len = build(&path, &bth, &Extension::None, &[3; 70], &mut frame).unwrap();
        let layout = layout(&frame[..len]);
        let variant = variant_bytes(&layout);
        for bit in 0..8 * len {
            frame[bit / 8] ^= 1 << (bit % 8);
            let at = (bit / 8).wrapping_sub(14);
            let flow_label_top = layout.ip_version == 6 && at == 0 && bit % 8 < 4;
            let outside = bit / 8 < 14;
            let free = outside || flow_label_top || variant.contains(&at);
            assert_eq!(verify(&frame, &layout), free, "bit {} of byte {at}", bit % 8);
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn headers_of_unequal_length_leave_the_icrc_alone() {
    assert_eq!(PatchTables::new(100).patch(&[1; 8], &[2; 12], 16, 0x1234_5678), 0x1234_5678);
}
