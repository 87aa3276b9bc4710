//! Profiles that are not the application's, as an operator may give them by mistake.
//!
//! What holds in spite of them is drawn: keys may be found where there are none, not at all, or
//! differently by different requests, and lists may have another form. One thing no engine could
//! survive is left out where requests are steered: that keys which differ are taken for one, and so
//! two lists for one.

use qpmux_engine::policy::{
    AddressKey, AtomicKey, BitField, ByteOrder, KeyField, ListForm, Policy, Profile, Steer,
};
use qpmux_engine::wire::Opcode;
use qpmux_workloads::{ProfileError, load_profile};
use rand::RngExt;
use rand_pcg::Pcg64;

/// Lengths of Clover's slots in bytes.
const SLOT_LENS: [u32; 4] = [128, 256, 512, 1_024];
/// Offset of what tells each value from all others, and of the first byte that all share.
const STAMP: u16 = 16;
const FILL: u16 = 24;

/// A profile under which the policy can be, and that is wrong.
pub(super) fn profile(
    rng: &mut Pcg64,
    policy: &Policy,
    clover: bool,
) -> Result<Profile, ProfileError> {
    loop {
        let profile = match rng.random_range(0..3) {
            0 => {
                let all: &[&str] = match clover {
                    true => &["clover-upstream", "kv", "lock-table", "none"],
                    false => &["clover", "kv", "none"],
                };
                load_profile(all[rng.random_range(0..all.len())])?
            }
            _ if clover => slots(rng, policy.steer != Steer::None),
            _ => locks(rng),
        };
        if (Policy { profile: profile.clone(), ..policy.clone() }).check().is_ok() {
            return Ok(profile);
        }
    }
}

/// Clover's profile with something wrong.
fn slots(rng: &mut Pcg64, steers: bool) -> Profile {
    let (mut offset, mut len, mut byte_order) = (8, 8, ByteOrder::Little);
    let mut compare_swap = AtomicKey::LastWritten;
    let mut list = clover_list();
    match rng.random_range(0..6) {
        0 => offset = if steers { STAMP } else { [0, STAMP, FILL][rng.random_range(0..3)] },
        1 => byte_order = ByteOrder::Big,
        2 => len = 1,
        3 => compare_swap = AtomicKey::OfAddress,
        4 => list.slot_lens = vec![64],
        _ => {
            let by = rng.random_range(1..4);
            let fields = [&mut list.next, &mut list.next_version, &mut list.version];
            fields.into_iter().for_each(|field| field.shift += by);
        }
    }
    let field =
        |payload_len| KeyField { opcode: Opcode::WriteOnly, payload_len, offset, len, byte_order };
    Profile::new(SLOT_LENS.map(field).into(), compare_swap)
        .with_reads_of_address(rng.random())
        .with_list(list)
}

fn clover_list() -> ListForm {
    let field = |shift, bits| BitField { shift, bits };
    ListForm {
        slot_lens: SLOT_LENS.into(),
        grids: Vec::new(),
        report: None,
        next: field(28, 32),
        next_version: field(19, 8),
        version: field(11, 8),
    }
}

/// The lock table's with something wrong: each kind of request its own unit, or no key.
fn locks(rng: &mut Pcg64) -> Profile {
    let all = [Opcode::CompareSwap, Opcode::FetchAdd, Opcode::WriteOnly, Opcode::ReadRequest];
    let mut addresses = Vec::new();
    for opcode in all {
        if rng.random_ratio(2, 3) {
            let unit = [8, 8, 16, 64, 1_024][rng.random_range(0..5)];
            addresses.push(AddressKey { opcode, len: 8, unit });
        }
    }
    Profile::keyless().with_addresses(addresses)
}
