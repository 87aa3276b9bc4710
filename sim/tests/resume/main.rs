//! The engine crashes after every action of a run, and another goes on from its log: each request
//! runs at most once, exactly once if its client is told so, and answers are true.

#[path = "../support/clients.rs"]
mod clients;
mod judge;
#[path = "../support/keyed.rs"]
mod keyed;
mod world;

use clients::PATH_MTU;
use judge::{judge, tag};
use qpmux_engine::policy::Order;
use qpmux_sim::rc::Verb;
use world::{BASE, Fate, RECORD, RKEY, Setup, World};

/// A record with a key, in a cell that only this client writes.
fn write(client: usize, number: usize, key: u64) -> Verb {
    let mut data = vec![0; RECORD];
    data[..8].copy_from_slice(&key.to_le_bytes());
    data[16..].copy_from_slice(&tag(client, number, 0).to_le_bytes());
    Verb::write(cell(client, key), RKEY, &data)
}

fn cell(client: usize, key: u64) -> u64 {
    BASE + 0x1000 * (client as u64 + 1) + 0x40 * key
}

fn read(client: usize, key: u64) -> Verb {
    Verb::Read { address: cell(client, key), rkey: RKEY, length: RECORD as u32 }
}

fn swap(client: usize, number: usize, compare: u64) -> Verb {
    Verb::CompareSwap { address: BASE, rkey: RKEY, compare, swap: tag(client, number, 0) }
}

fn add(client: usize, number: usize) -> Verb {
    Verb::FetchAdd { address: BASE + 8, rkey: RKEY, add: tag(client, number, 0) }
}

/// A WRITE of several packets.
fn long(client: usize, number: usize, packets: usize) -> Verb {
    let mut data = vec![client as u8; packets * PATH_MTU];
    for (part, packet) in data.chunks_mut(PATH_MTU).enumerate() {
        packet[PATH_MTU - 8..].copy_from_slice(&tag(client, number, part).to_le_bytes());
    }
    Verb::write(cell(client, 0x20), RKEY, &data)
}

fn simple(client: usize) -> Vec<Verb> {
    vec![
        write(client, 0, 2),
        swap(client, 1, 0xeeee_eeee_eeee_eeee),
        write(client, 2, 3),
        read(client, 2),
        add(client, 4),
        write(client, 5, 3),
        read(client, 3),
    ]
}

fn setup(scripts: Vec<Vec<Verb>>) -> Setup {
    Setup {
        scripts,
        order: Order::Fenced,
        hosts: 1,
        shards: 1,
        start_psn: 0xff_fffd,
        like_rxe: false,
        dead: Vec::new(),
        silence_ns: u64::MAX,
        server_window_max: 256,
        lost: Vec::new(),
    }
}

/// Crashes after every action. How many runs there were.
fn crash_everywhere(setup: &Setup, second: Option<u64>) -> u64 {
    let mut calm = World::new(setup);
    calm.run(&[]);
    assert_eq!(judge(&calm), Vec::<String>::new(), "without a crash");
    let mut runs = 0;
    for after in 1..=calm.actions + 10 {
        for fate in Fate::all() {
            let mut crashes = vec![(after, fate)];
            crashes.extend(second.map(|second| (second, fate)));
            let mut world = World::new(setup);
            world.run(&crashes);
            let wrong = judge(&world);
            assert!(wrong.is_empty(), "crash after {after} actions, {fate:?}: {wrong:#?}");
            runs += u64::from(world.crashes > 0);
        }
    }
    runs
}

#[test]
fn one_packet_requests_survive_a_crash_anywhere() {
    let mut runs = 0;
    for order in [Order::Fenced, Order::Keyed] {
        for hosts in [1, 2] {
            for like_rxe in [false, true] {
                let scripts = vec![simple(0), simple(1)];
                runs += crash_everywhere(&Setup { order, hosts, like_rxe, ..setup(scripts) }, None);
            }
        }
    }
    println!("{runs} runs");
}

#[test]
fn a_second_crash_is_survived_as_well() {
    let mut runs = 0;
    for second in [1, 2, 3, 5, 8, 12, 17, 25] {
        for (order, hosts) in [(Order::Fenced, 1), (Order::Keyed, 2)] {
            let scripts = vec![simple(0), simple(1)];
            runs += crash_everywhere(&Setup { order, hosts, ..setup(scripts) }, Some(second));
        }
    }
    println!("{runs} runs");
}

#[test]
fn packets_lost_before_and_after_are_survived_as_well() {
    let mut runs = 0;
    for after in 1..60 {
        for lost in 1..90 {
            let order = if lost % 2 == 0 { Order::Fenced } else { Order::Keyed };
            let setup = Setup {
                order,
                hosts: 1 + after as u32 % 2,
                like_rxe: lost % 3 == 0,
                lost: vec![lost, lost + after % 7 + 1, lost + after + 11],
                ..setup(vec![simple(0), simple(1)])
            };
            let fate = Fate::all().nth(((after + lost) % 8) as usize).unwrap();
            let mut world = World::new(&setup);
            world.run(&[(after, fate), (13, fate)]);
            let wrong = judge(&world);
            let lost = &setup.lost;
            assert!(wrong.is_empty(), "after {after}, {lost:?} lost, {fate:?}: {wrong:#?}");
            runs += u64::from(world.crashes > 0);
        }
    }
    println!("{runs} runs");
}

#[test]
fn who_never_returns_harms_nobody() {
    let mut runs = 0;
    for (order, hosts) in [(Order::Fenced, 1), (Order::Keyed, 2)] {
        for dead in [0, 1] {
            let scripts = vec![simple(0), simple(1), simple(2)];
            runs +=
                crash_everywhere(&Setup { order, hosts, dead: vec![dead], ..setup(scripts) }, None);
        }
    }
    println!("{runs} runs");
}

#[test]
fn who_returns_too_late_is_told_nothing_that_is_not_so() {
    let mut runs = 0;
    for (order, hosts) in [(Order::Fenced, 1), (Order::Keyed, 2)] {
        let (dead, silence_ns) = (vec![0], 2_500_000);
        let scripts = vec![simple(0), simple(1)];
        let setup = Setup { order, hosts, dead, silence_ns, ..setup(scripts) };
        runs += crash_everywhere(&setup, None);
    }
    println!("{runs} runs");
}

#[test]
fn what_was_bound_ahead_of_an_earlier_request_is_found_again() {
    let mut runs = 0;
    for server_window_max in [1, 2] {
        for like_rxe in [false, true] {
            let scripts = vec![simple(0), simple(1)];
            let order = Order::Keyed;
            let setup = Setup { order, hosts: 2, like_rxe, server_window_max, ..setup(scripts) };
            runs += crash_everywhere(&setup, None);
        }
    }
    println!("{runs} runs");
}

#[test]
fn messages_of_several_packets_survive() {
    let mut runs = 0;
    for (order, hosts) in [(Order::Fenced, 1), (Order::Keyed, 2)] {
        let script = |c| {
            let wide = Verb::Read { address: cell(c, 0x20), rkey: RKEY, length: 700 };
            vec![write(c, 0, 2), long(c, 1, 3), wide, write(c, 3, 3), add(c, 4)]
        };
        let scripts = vec![script(0), script(1)];
        runs += crash_everywhere(&Setup { order, hosts, ..setup(scripts) }, None);
    }
    println!("{runs} runs");
}

#[test]
fn requests_that_no_guest_may_share_survive() {
    let send = || Verb::Send { data: vec![9; 40], immediate: None };
    let script = |c| vec![write(c, 0, 2), send(), add(c, 2), write(c, 3, 3), send()];
    let runs = crash_everywhere(&setup(vec![script(0), script(1)]), None);
    println!("{runs} runs");
}

#[test]
fn several_shards_go_on_together() {
    let mut runs = 0;
    for (order, hosts) in [(Order::Fenced, 1), (Order::Keyed, 2)] {
        let scripts = vec![simple(0), simple(1)];
        runs += crash_everywhere(&Setup { order, hosts, shards: 2, ..setup(scripts) }, Some(9));
        let scripts = vec![simple(0), simple(1), simple(2)];
        let setup = Setup { order, hosts, shards: 2, dead: vec![0], ..setup(scripts) };
        runs += crash_everywhere(&setup, None);
    }
    println!("{runs} runs");
}
