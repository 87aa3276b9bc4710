//! Limits, keys and paths that only some seeds have, each by a chance of its own: whatever else
//! their seeds decide stays as it is.

use super::choices::Mapping;
use super::crash;
use super::draw::give_up_in_time;
use super::plan::{Client, Plan};
use super::workload::{CELLS, Op, Span};
use crate::dice::Dice;
use crate::faults::Leg;
use crate::rc::{End, Ending};

/// Another partition than the default one, with full membership (IBTA vol. 1, 10.9.1.2).
const OTHER_PARTITION: u16 = 0x8001;

/// Priority 3, VLAN 100 (IEEE 802.1Q).
const TAG: u16 = 3 << 13 | 100;

/// Makes a plan one of the seldom ones.
pub(super) fn draw(plan: &mut Plan, seed: u64, may_crowd: bool) {
    let rarely = |number, per_mille| {
        let mut dice = Dice::new(seed, 6, number);
        dice.chance(per_mille).then_some(dice)
    };
    // First, since it chooses who hosts.
    let narrowed = rarely(22, 400).is_some_and(|mut dice| narrow(plan, &mut dice));
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
        // READs stay where their clients' messages are.
        plan.policy.map_all &= !narrowed;
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
        if may_crowd && dice.chance(700) {
            crowd(plan, &mut dice);
        }
    }
    // Where READs are mapped, what an engine before knew of addresses is not in its log.
    let judged = !plan.has_ending() && !plan.has_offender() && !plan.policy.map_all;
    if plan.learning.is_some()
        && judged
        && let Some(mut dice) = rarely(40, 300)
    {
        crash::draw(plan, &mut dice);
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
        client.leaves = dice.chance(850);
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

/// Clients of a crowd.
const CROWD: usize = 24;

/// There is room for few of many connections. They end early, while guests' requests are under way
/// on their server queue pairs, and others wait for their room.
fn crowd(plan: &mut Plan, dice: &mut Dice) {
    let (Some(learning), Some(chance)) = (plan.learning.as_mut(), plan.chance.as_mut()) else {
        return;
    };
    let all = plan.clients.len();
    plan.clients = plan.clients.iter().cycle().take(CROWD.max(all)).cloned().collect();
    chance.rates = chance.rates.iter().cycle().take(CROWD.max(all)).copied().collect();
    learning.connections_max = dice.between(4, 8) as u32;
    (learning.cells_known, learning.path_mtu_known) = (Some(320), true);
    (learning.flip_wait_ns, learning.unseen) = (100_000, 0);
    plan.policy.server_qps = dice.pick(&[0, 1, 1, 2]);
    for client in &mut plan.clients {
        client.leaves = true;
        client.outstanding = dice.between(3, 8) as usize;
        client.server.answer_delay_ns = dice.pick(&[10_000, 20_000]);
        client.operations.truncate(dice.between(8, 20) as usize);
        for op in &mut client.operations {
            if dice.chance(700) {
                let at = Span { cell: dice.below(CELLS), ..Span::default() };
                *op = Op::Write { key: dice.below(4), at, immediate: false };
            }
        }
    }
}

/// Some clients' windows end inside their messages, and answers of the READs before them are lost:
/// those are repeated inside. The clients never host: a guest's request that comes between may make
/// the READ wait for the message's end, which the window does not let through. They are in a
/// partition of their own, and then the READs stay at home; or the one that hosts falls silent,
/// with READs that have gone there, and there are others to host. Whether there are such clients.
fn narrow(plan: &mut Plan, dice: &mut Dice) -> bool {
    let moves = plan.may_move() || plan.learning.is_some() || !plan.crashes.is_empty();
    if plan.innocents_notice_nothing || moves {
        return false;
    }
    let apart = dice.chance(300);
    if plan.policy.key_map == Mapping::ByConnection {
        plan.policy.key_map = Mapping::Hash;
    }
    plan.policy.server_qps = 3;
    let may_host = plan.hosts();
    plan.policy.server_qps = if apart { dice.between(1, 3) as u32 } else { 1 };
    let mut some = false;
    for (i, client) in (0..).zip(&mut plan.clients) {
        if may_host.contains(&i) || client.pmtu != 256 || !dice.chance(800) {
            continue;
        }
        some = true;
        if apart {
            client.partition_key = OTHER_PARTITION;
        }
        client.window = dice.pick(&[3, 4, 6]);
        // One that repeats several may itself make its server forget the newest.
        client.depth = 1;
        client.outstanding = dice.between(2, 8) as usize;
        let count = client.operations.len() as u64;
        client.operations = (0..count).map(|_| read_or_long_write(dice)).collect();
        if let Some(chance) = plan.chance.as_mut() {
            let rates = &mut chance.rates[i as usize][Leg::BoxToClient as usize];
            rates.drop = dice.pick(&[100_000, 300_000]);
            rates.budget = rates.budget.saturating_add(dice.between(4, 30));
        }
    }
    if some && !apart {
        let how = dice.pick(&[End::FallsSilent, End::IsUnheard]);
        let after = dice.below(plan.requests() / 4 + 1);
        let who = dice.pick(&plan.hosts());
        plan.clients[who as usize].server.ending = Some(Ending { how, after });
        let patient = |client: &mut Client| client.retries = client.retries.min(30);
        plan.clients.iter_mut().for_each(patient);
        give_up_in_time(plan);
    }
    some
}

/// A READ of one or two packets, or a WRITE of five to eight.
fn read_or_long_write(dice: &mut Dice) -> Op {
    let read = dice.chance(500);
    let cells = if read { dice.between(1, 8) } else { dice.between(17, CELLS) };
    let at = Span { cell: dice.below(CELLS - cells + 1), cells, shared: false };
    match read {
        true => Op::Read { at },
        false => Op::Write { key: 0, at, immediate: false },
    }
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
