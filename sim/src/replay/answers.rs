//! Whether the clients were told what happened: every completed request against the log of what
//! the servers executed, without looking into the engine.

use std::collections::BTreeMap;

use qpmux_engine::policy::{Atomics, ByteOrder, Policy, Steer};

use crate::memory::{Access, Effect, EffectLog, Memory, carry_out, digest};
use crate::rc::{Completion, Outcome, Status, Verb};

/// What an executed access and a completed request have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Write { address: u64, length: u64, digest: u64 },
    CompareSwap { address: u64, compare: u64, swap: u64, before: u64 },
    FetchAdd { address: u64, add: u64, before: u64 },
    Read { address: u64, length: u64, digest: u64 },
}

/// What clients were told, to be held against what servers did.
#[derive(Default)]
pub(super) struct Answers {
    told: BTreeMap<Deed, u64>,
    /// Requests without a good answer: they may have run or not.
    in_doubt: u64,
}

impl Answers {
    /// A completed request. `path_mtu` in bytes: a WRITE is executed packet by packet.
    pub(super) fn note(&mut self, verb: &Verb, completion: &Completion, path_mtu: u16) {
        if completion.status != Status::Success {
            self.in_doubt += 1;
            return;
        }
        match (verb, &completion.outcome) {
            (Verb::Write { address, data, .. }, _) => {
                let step = usize::from(path_mtu);
                for (i, packet) in data.chunks(step).enumerate() {
                    let address = address.wrapping_add((i * step) as u64);
                    let (length, digest) = (packet.len() as u64, digest(packet));
                    self.count(Deed::Write { address, length, digest });
                }
            }
            (Verb::Read { address, .. }, Outcome::Read(data)) => {
                let (length, digest) = (data.len() as u64, digest(data));
                self.count(Deed::Read { address: *address, length, digest });
            }
            (Verb::CompareSwap { address, compare, swap, .. }, Outcome::Atomic(before)) => {
                let (address, compare, swap, before) = (*address, *compare, *swap, *before);
                self.count(Deed::CompareSwap { address, compare, swap, before });
            }
            (Verb::FetchAdd { address, add, .. }, Outcome::Atomic(before)) => {
                self.count(Deed::FetchAdd { address: *address, add: *add, before: *before });
            }
            _ => {}
        }
    }

    fn count(&mut self, deed: Deed) {
        *self.told.entry(deed).or_default() += 1;
    }

    /// Differences between what was told and what was done: an answer that no execution gave, or
    /// a WRITE or an atomic that ran more often than clients were told. READs may run more often.
    /// Given are what servers' memory held at first, and what was done to it.
    pub(super) fn differences<'a>(
        self,
        stores: impl Iterator<Item = (&'a Memory, &'a EffectLog)>,
        allowed: Allowed,
    ) -> Vec<String> {
        let mut done: BTreeMap<Deed, u64> = BTreeMap::new();
        for (initial, log) in stores {
            let mut memory = initial.clone();
            for effect in log.effects() {
                let before = memory.read_u64(effect.address);
                carry_out(&mut memory, effect);
                let Some(deed) = deed_of(effect) else { continue };
                let deeds = allowed.forms_of(effect, deed, before, memory.words());
                let wanted = |deed: &Deed| {
                    let told = self.told.get(deed).copied().unwrap_or(0);
                    told > done.get(deed).copied().unwrap_or(0)
                };
                let deed = deeds.into_iter().flatten().find(wanted).unwrap_or(deed);
                *done.entry(deed).or_default() += 1;
            }
        }
        let mut differences = Vec::new();
        for (deed, &told) in self.told.iter().filter(|(deed, _)| allowed.judges(deed)) {
            let ran = done.get(deed).copied().unwrap_or(0);
            if ran < told {
                differences.push(format!("{deed:?}: told {told} times, done {ran} times"));
            }
        }
        let repeated = done.iter().filter(|(deed, _)| !matches!(deed, Deed::Read { .. }));
        for (deed, &ran) in repeated.filter(|(deed, _)| allowed.judges(deed)) {
            let told = self.told.get(deed).copied().unwrap_or(0);
            if ran > told && self.in_doubt == 0 {
                differences.push(format!("{deed:?}: done {ran} times, told {told} times"));
            }
        }
        differences
    }
}

/// What the policy may do to requests on their way.
#[derive(Clone, Copy)]
pub(super) struct Allowed {
    /// WRITEs may take the place of atomics.
    replace: bool,
    /// READs and compare-and-swaps may go to another address: which answers are right then, only
    /// the application knows. What was done is held against memory all the same.
    steer: bool,
}

impl Allowed {
    pub(super) fn by(policy: &Policy) -> Allowed {
        let replace = policy.atomics == Atomics::Replace;
        Allowed { replace, steer: policy.steer != Steer::None }
    }

    fn judges(self, deed: &Deed) -> bool {
        !self.steer || matches!(deed, Deed::Write { .. } | Deed::FetchAdd { .. })
    }

    /// What an execution may have been asked for as, the likeliest first.
    fn forms_of(
        self,
        effect: &Effect,
        deed: Deed,
        before: u64,
        words: ByteOrder,
    ) -> [Option<Deed>; 3] {
        let word = match &effect.access {
            Access::Write { data } if self.replace => <[u8; 8]>::try_from(&data[..]).ok(),
            _ => None,
        };
        let address = effect.address;
        let atomics = word.map(|word| words.number(&word)).map(|swap| {
            let add = swap.wrapping_sub(before);
            let compare = before;
            (
                Deed::CompareSwap { address, compare, swap, before },
                Deed::FetchAdd { address, add, before },
            )
        });
        [Some(deed), atomics.map(|(swap, _)| swap), atomics.map(|(_, add)| add)]
    }
}

/// What was done by one execution; `None` for a WRITE of nothing.
fn deed_of(effect: &Effect) -> Option<Deed> {
    let (address, length) = (effect.address, effect.length() as u64);
    Some(match &effect.access {
        Access::Write { data } if data.is_empty() => return None,
        Access::Write { data } => Deed::Write { address, length, digest: digest(data) },
        Access::Read { digest, .. } => Deed::Read { address, length, digest: *digest },
        Access::CompareSwap { compare, swap, before } => {
            let (compare, swap, before) = (*compare, *swap, *before);
            Deed::CompareSwap { address, compare, swap, before }
        }
        Access::FetchAdd { add, before } => Deed::FetchAdd { address, add: *add, before: *before },
    })
}
