//! Serial numbers: arithmetic around the wrap.

use super::*;

proptest! {
    #[test]
    fn stays_below_the_modulus(value: u32, count: u32) {
        let psn = Psn::new(value);
        prop_assert_eq!(psn.value(), value & 0x00ff_ffff);
        prop_assert!(psn.add(count).value() < Psn::MODULUS);
        prop_assert!(psn.sub(count).value() < Psn::MODULUS);
    }

    #[test]
    fn add_and_sub_undo_each_other(value: u32, count: u32) {
        let psn = Psn::new(value);
        prop_assert_eq!(psn.add(count).sub(count), psn);
        prop_assert_eq!(psn.add(count).offset_from(psn), count % Psn::MODULUS);
        prop_assert_eq!(psn.sub(count), psn.add(count.wrapping_neg()));
    }

    #[test]
    fn signed_offset_agrees_with_the_unsigned(a: u32, b: u32) {
        let (a, b) = (Psn::new(a), Psn::new(b));
        let signed = a.signed_offset_from(b);
        prop_assert!((-(1 << 23)..1 << 23).contains(&signed));
        prop_assert_eq!(signed.rem_euclid(1 << 24) as u32, a.offset_from(b));
    }

    #[test]
    fn half_of_all_numbers_are_after(base: u32, ahead in 1_u32..1 << 23) {
        let base = Psn::new(base);
        let later = base.add(ahead);
        prop_assert!(later.is_after(base) && base.is_before(later));
        prop_assert!(!later.is_before(base) && !base.is_after(later));
        prop_assert!(!base.is_before(base) && !base.is_after(base));
    }

    #[test]
    fn sides_keep_the_number(value: u32) {
        let psn = Psn::new(value);
        prop_assert_eq!(ClientPsn::from_wire(psn).to_wire(), psn);
        prop_assert_eq!(ServerPsn::from_wire(psn).add(5).to_wire(), psn.add(5));
    }
}

#[test]
fn wraps_at_24_bits() {
    assert_eq!(Psn::new(0x00ff_ffff).add(1), Psn::new(0));
    assert_eq!(Psn::new(0).sub(1).value(), 0x00ff_ffff);
    assert!(Psn::new(0x00ff_ffff).is_before(Psn::new(0)));
    assert!(Msn::new(3).is_after(Msn::new(0x00ff_fff0)));
}

#[test]
fn opposite_numbers_are_each_before_the_other() {
    let (a, b) = (Psn::new(7), Psn::new(7 + (1 << 23)));
    assert!(a.is_before(b) && b.is_before(a));
    assert!(!a.is_after(b) && !b.is_after(a));
}

#[test]
fn display() {
    assert_eq!(std::format!("{} {}", Psn::new(0x0100_0007), Qpn::new(0xff00_1a2b)), "7 0x001a2b");
    assert_eq!(std::format!("{:>4}", Msn::new(12)), "  12");
}
