//! Limits, keys and paths that only some seeds have, each by a chance of its own: whatever else
//! their seeds decide stays as it is.

use super::choices::Mapping;
use super::dice::Dice;
use super::faults::Leg;
use super::plan::Plan;

/// Another partition than the default one, with full membership (IBTA vol. 1, 10.9.1.2).
const OTHER_PARTITION: u16 = 0x8001;

/// Priority 3, VLAN 100 (IEEE 802.1Q).
const TAG: u16 = 3 << 13 | 100;

/// Makes a plan one of the seldom ones.
pub(super) fn draw(plan: &mut Plan, seed: u64) {
    let rarely = |number, per_mille| {
        let mut dice = Dice::new(seed, 6, number);
        dice.chance(per_mille).then_some(dice)
    };
    // What there is no room or no time for is asked for again, and then a client notices.
    if !plan.innocents_notice_nothing {
        if let Some(mut dice) = rarely(0, 150) {
            plan.engine.held_responses_max = dice.pick(&[1, 1, 4]);
        }
        if let Some(mut dice) = rarely(1, 120) {
            hurry_messages(plan, &mut dice);
        }
    }
    if let Some(mut dice) = rarely(2, 60) {
        plan.policy.long_keys = true;
        plan.policy.message_packets_max = dice.pick(&[1, 2, 4]);
    }
    if let Some(mut dice) = rarely(30, 150) {
        know_memory(plan, &mut dice);
    }
    if let Some(mut dice) = rarely(3, 60) {
        part(plan, &mut dice);
    }
    if let Some(mut dice) = rarely(20, 60) {
        tag(plan, &mut dice);
    }
    if let Some(mut dice) = rarely(4, 80) {
        add_noise(plan, &mut dice);
    }
    if let Some(mut dice) = rarely(7, 900) {
        end_learnt(plan, &mut dice);
    }
    // Whom a notification is told to is judged where all goes on as it began.
    let ends = plan.has_ending() || plan.has_offender() || !plan.crashes.is_empty();
    if plan.learning.is_none() && !ends && !plan.policy.replace {
        plan.notifies = rarely(5, 80).is_some();
    }
}

/// Where connections are learnt: some clients tear theirs down, and there may not be room for all.
fn end_learnt(plan: &mut Plan, dice: &mut Dice) {
    let all = plan.clients.len() as u64;
    let Some(learning) = plan.learning.as_mut() else { return };
    if dice.chance(500) {
        learning.connections_max = dice.between(1, all) as u32;
    }
    for client in &mut plan.clients {
        client.leaves = dice.chance(700);
    }
}

/// The engine knows of servers' memory: READs follow their keys, WRITEs take atomics' places.
fn know_memory(plan: &mut Plan, dice: &mut Dice) {
    // By connection the requests of a key are anywhere.
    if plan.policy.key_map == Mapping::ByConnection || plan.shards > 1 || !plan.crashes.is_empty() {
        return;
    }
    plan.policy.words_are_keys = dice.chance(700);
    plan.policy.map_all = dice.chance(600);
    // What passes before connections are learnt writes words past the engine.
    plan.policy.replace = dice.chance(700) && plan.learning.is_none();
    plan.engine.addresses_max = dice.pick(&[0, 4, 64]);
    plan.engine.words_max = dice.pick(&[4, 64, 64]);
}

/// Frames beside the conversations, where all connections are translated all the time.
fn add_noise(plan: &mut Plan, dice: &mut Dice) {
    let Some(chance) = plan.chance.as_mut().filter(|_| plan.learning.is_none()) else { return };
    if !plan.crashes.is_empty() {
        return;
    }
    for rates in &mut chance.rates {
        for leg in [Leg::ClientToBox, Leg::ServerToBox] {
            let rates = &mut rates[leg as usize];
            rates.noise = dice.pick(&[0, 10_000, 50_000]);
            rates.budget = rates.budget.saturating_add(dice.between(1, 4));
        }
    }
}

/// Messages of several packets are mapped, and given up soon if their rest does not come.
fn hurry_messages(plan: &mut Plan, dice: &mut Dice) {
    plan.policy.long_keys = true;
    plan.policy.message_packets_max = 4;
    plan.engine.message_wait_ns = dice.pick(&[2_000, 10_000, 50_000]);
}

/// Some of the connections that never host are in another partition.
fn part(plan: &mut Plan, dice: &mut Dice) {
    if plan.may_move() || plan.learning.is_some() {
        return;
    }
    let hosts = plan.hosts();
    for (i, client) in (0..).zip(&mut plan.clients) {
        if !hosts.contains(&i) && dice.chance(600) {
            client.partition_key = OTHER_PARTITION;
        }
    }
}

/// Packets have a VLAN tag, another one for each client; those of some that never host have none.
fn tag(plan: &mut Plan, dice: &mut Dice) {
    let some_have_none = !plan.may_move() && plan.learning.is_none();
    let hosts = plan.hosts();
    for (i, client) in (0..).zip(&mut plan.clients) {
        let none = some_have_none && !hosts.contains(&i) && dice.chance(200);
        client.tag = (!none).then_some(TAG + i as u16);
    }
}
