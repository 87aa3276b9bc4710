//! WRITEs in the place of atomics, seen as what their clients had asked for.

use std::borrow::Cow;

use super::judge::Asked;
use super::workload::of_tag;
use super::world::World;
use crate::memory::{Access, Effect, Memory, carry_out};
use crate::rc::{Outcome, Verb};

/// What was done to memory, with each WRITE of a word as the atomic whose place it took: one that
/// would have stored the same. It is up to the judges whether that was asked for.
pub(super) fn effects<'a>(world: &'a World<'_>) -> Vec<Cow<'a, Effect>> {
    let mut memory = world.initial.clone();
    let effects = world.log.effects().iter();
    if !world.plan.policy.replace {
        return effects.map(Cow::Borrowed).collect();
    }
    effects
        .map(|effect| {
            let asked = as_atomic(world, effect, &memory);
            carry_out(&mut memory, effect);
            asked.map_or(Cow::Borrowed(effect), |access| {
                Cow::Owned(Effect { access, ..effect.clone() })
            })
        })
        .collect()
}

fn as_atomic(world: &World<'_>, effect: &Effect, memory: &Memory) -> Option<Access> {
    let Access::Write { data } = &effect.access else { return None };
    let after = u64::from_le_bytes(<[u8; 8]>::try_from(&data[..]).ok()?);
    let before = memory.read_u64(effect.address);
    let add = after.wrapping_sub(before);
    let swap = asked(world, after).filter(|asked| match asked.verb {
        Verb::CompareSwap { address, compare, .. } => {
            (address, compare) == (effect.address, before)
        }
        _ => false,
    });
    let adds = asked(world, add).filter(|asked| match asked.verb {
        Verb::FetchAdd { address, .. } => address == effect.address,
        _ => false,
    });
    // Sums of tags can be tags: then who was told so was it.
    let was_told = |asked: &Asked| match asked.end.as_ref().map(|end| &end.outcome) {
        Some(Outcome::Atomic(told)) => *told == before,
        _ => true,
    };
    let add = Access::FetchAdd { add, before };
    match (swap, adds) {
        (Some(swap), adds) if was_told(swap) || adds.is_none() => {
            Some(Access::CompareSwap { compare: before, swap: after, before })
        }
        (_, adds) => adds.map(|_| add),
    }
}

/// The request with a tag.
fn asked<'a>(world: &'a World<'_>, tag: u64) -> Option<&'a Asked> {
    let (client, number) = of_tag(tag)?;
    world.connections.get(client as usize)?.asked.get(number as usize)
}
