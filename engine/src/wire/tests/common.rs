//! What packets have in common: that a packet is known by it, and that a check by it says what the
//! whole check says.

use super::facts::any_usual;
use super::*;
use crate::wire::common::{Common, Head, Shapes, is_usual};
use crate::wire::{icrc, usual};

fn head(frame: &[u8]) -> Head {
    *frame.first_chunk().unwrap()
}

/// The check of packets without payload, for the opcodes that have one.
fn verify_short(common: &Common, frame: &[u8], opcode: Opcode) -> Option<bool> {
    let head = &head(frame);
    match opcode {
        Opcode::Acknowledge => Some(common.verify_short::<2>(frame, head, opcode)),
        Opcode::AtomicAcknowledge => Some(common.verify_short::<4>(frame, head, opcode)),
        Opcode::ReadRequest => Some(common.verify_short::<5>(frame, head, opcode)),
        Opcode::CompareSwap | Opcode::FetchAdd => {
            Some(common.verify_short::<8>(frame, head, opcode))
        }
        _ => None,
    }
}

proptest! {
    #[test]
    fn checks_by_what_is_in_common_say_what_the_whole_one_says(
        sent in any_usual(),
        solicited in any::<bool>(),
        bit in any::<usize>(),
        headers_only in any::<bool>(),
    ) {
        let sent = Sent { bth: BthRepr { solicited, ..sent.bth }, ..sent };
        let mut frame = sent.frame();
        prop_assume!(frame.len() >= size_of::<Head>());
        let common = Common::of(&head(&frame));
        let mut shapes = Shapes::NONE;
        let good = layout(&frame);
        prop_assert!(is_usual(&head(&frame)) && common.is_of(&head(&frame)));
        // Once more: now the shape is known.
        prop_assert!(common.verify(&mut shapes, &frame, &good));
        prop_assert!(common.verify(&mut shapes, &frame, &good));
        if let Some(short) = verify_short(&common, &frame, good.opcode) {
            prop_assert_eq!(short, !solicited);
        }
        let bits = if headers_only { 8 * size_of::<Head>() } else { 8 * frame.len() };
        frame[bit % bits / 8] ^= 1 << (bit % 8);
        if !common.is_of(&head(&frame)) || !is_usual(&head(&frame)) {
            return Ok(());
        }
        if let Some(layout) = usual::layout(&frame) {
            let right = icrc::verify(&frame, &layout);
            prop_assert_eq!(common.verify(&mut shapes, &frame, &layout), right);
            let short = verify_short(&common, &frame, layout.opcode);
            prop_assert!(short.is_none_or(|short| short == (right && !solicited)));
        } else if let Some(opcode) = Opcode::from_byte(frame[usual::BTH]) {
            prop_assert_ne!(verify_short(&common, &frame, opcode), Some(true));
        }
    }

    #[test]
    fn packets_with_other_common_words_are_others(sent in any_usual(), other in any_usual()) {
        let [one, two] = [sent.frame(), other.frame()];
        prop_assume!(one.len().min(two.len()) >= size_of::<Head>());
        let known = |sent: &Sent| (
            sent.path.source, sent.path.destination, sent.path.source_port, sent.bth.dest_qp,
            sent.bth.partition_key, sent.bth.migration_request,
        );
        let common = Common::of(&head(&one));
        prop_assert_eq!(common.is_of(&head(&two)), known(&sent) == known(&other));
    }
}
