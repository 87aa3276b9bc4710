//! The plan of a seed.

use super::choices::{Choices, Limits, Mapping};
use super::crash;
use super::learn;
use super::plan::{Chance, Client, FOREVER, PARTITION, Plan, Server};
use super::rare;
use super::workload::{Mix, Offence, Op};
use crate::dice::Dice;
use crate::faults::{Leg, Rates};
use crate::rc::{AckRequest, DuplicateAck, End, Ending, ResumeForm};

/// Faults in a million packets.
const MILLION: f64 = 1e6;

/// Where faults are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    /// On every leg.
    Everywhere,
    /// Between middlebox and servers only: no client may notice.
    Servers,
    /// Between one client and the middlebox only: no other client may notice.
    OneClient(u32),
    /// Nowhere.
    Nowhere,
}

/// What of a seed's run is not left to the seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Shape {
    /// Clients, at most 64.
    pub clients: Option<u32>,
    /// Server queue pairs in use; 0 is all.
    pub server_qps: Option<u32>,
    /// Share of packets that is lost, `0..1`; nothing else happens to them then.
    pub loss: Option<f64>,
    /// The only client whose two legs lose packets; without, all legs do.
    pub victim: Option<u32>,
}

/// What all connections of a plan have in common.
struct General {
    focus: Focus,
    requests: u32,
    /// Faults in a thousand packets.
    severity: u64,
    rnr: bool,
    /// The engine drops what a client has outstanding beyond a few requests.
    tight: bool,
    /// Some client stops or offends.
    unruly: bool,
    domains: u64,
}

/// The plan of a seed, as far as `shape` leaves it to the seed.
pub(super) fn draw(seed: u64, shape: &Shape) -> Plan {
    let mut dice = Dice::new(seed, 1, 0);
    let drawn = dice.between(2, 8) as u32;
    let clients = shape.clients.unwrap_or(drawn);
    let focus = draw_focus(&mut dice, clients, shape);
    let requests = dice.between(8, 40) as u32;
    let severity = dice.pick(&[10, 30, 60, 120]);
    let engine = limits(&mut dice, focus);
    let general = General {
        focus,
        requests,
        severity,
        rnr: dice.chance(300),
        tight: engine.client_window_max < 128,
        unruly: dice.chance(150),
        domains: if dice.chance(100) { 2 } else { 1 },
    };
    let policy = choices(&mut dice, shape);
    let clients: Vec<Client> =
        (0..clients).map(|i| client(&mut Dice::new(seed, 2, i.into()), i, &general)).collect();
    let rates = (0..clients.len() as u32).map(|i| rates(seed, i, &general, shape)).collect();
    let mut plan = Plan {
        shards: dice.pick(&[1, 1, 2, 4]),
        asymmetric: dice.chance(500),
        out_capacity: dice.pick(&[16, 20, 64, 256]),
        innocents_notice_nothing: focus != Focus::Everywhere,
        client_latency_ns: dice.pick(&[100, 500, 3_000]),
        server_latency_ns: dice.pick(&[100, 500, 3_000]),
        policy,
        engine,
        clients,
        chance: Some(Chance { seed, rates }),
        ..Plan::default()
    };
    // Chance of its own, so that whatever else a seed decides stays as it is.
    let mut apart = Dice::new(seed, 5, 0);
    if apart.chance(120) {
        learn::draw(&mut plan, &mut apart);
    }
    if shape.loss.is_none() {
        if general.unruly {
            disturb(&mut plan, &mut dice);
        }
        end_hosts(&mut plan, &mut Dice::new(seed, 3, 0));
    }
    // What ends by itself is judged without crashes. Crashes of engines that learn have dice of
    // their own.
    let crashes = plan.learning.is_none() && !plan.has_offender() && !plan.has_ending();
    if crashes && apart.chance(60) {
        crash::draw(&mut plan, &mut apart);
    }
    if shape.loss.is_none() {
        rare::draw(&mut plan, seed, shape.clients.is_none());
    }
    plan
}

fn draw_focus(dice: &mut Dice, clients: u32, shape: &Shape) -> Focus {
    let drawn = match dice.below(10) {
        0 => Focus::Nowhere,
        1 | 2 => Focus::Servers,
        3 | 4 => Focus::OneClient(dice.below(clients.into()) as u32),
        _ => Focus::Everywhere,
    };
    match (shape.loss, shape.victim) {
        (None, None) => drawn,
        (_, Some(victim)) => Focus::OneClient(victim),
        (Some(loss), None) if loss > 0.0 => Focus::Everywhere,
        (Some(_), None) => Focus::Nowhere,
    }
}

/// One client stops, or asks for what its server refuses.
fn disturb(plan: &mut Plan, dice: &mut Dice) {
    let who = dice.below(plan.clients.len() as u64) as usize;
    let client = &mut plan.clients[who];
    let all = client.operations.len() as u64;
    // Which server queue pairs host is not known where they are learnt.
    if dice.chance(500) || plan.learning.is_some() {
        client.stops_after = Some(dice.below(all * 2));
    } else {
        let at = dice.below(all) as usize;
        client.operations.insert(at, Op::Bad(dice.pick(&Offence::ALL)));
        // Its server falls silent: both the engine and it must give up.
        client.retries = client.retries.min(7);
        give_up_in_time(plan);
    }
}

/// Server queue pairs that host come to their end by themselves.
fn end_hosts(plan: &mut Plan, dice: &mut Dice) {
    if !dice.chance(200) || plan.has_offender() || plan.learning.is_some() {
        return;
    }
    let hosts = plan.hosts();
    for _ in 0..dice.pick(&[1, 1, 1, 2]) {
        let who = dice.pick(&hosts);
        let how = dice.pick(&[End::Refuses, End::Refuses, End::FallsSilent, End::IsUnheard]);
        let all = plan.requests();
        let after = dice.below(dice.clone().pick(&[all, all / 4]).max(1));
        plan.clients[who as usize].server.ending = Some(Ending { how, after });
    }
    for client in &mut plan.clients {
        client.retries = client.retries.min(30);
    }
    give_up_in_time(plan);
}

/// The engine gives a silent server queue pair up, and until then no client does so.
pub(super) fn give_up_in_time(plan: &mut Plan) {
    plan.engine.server_retries_max = 20;
    // 20 timeouts that grow to 64 times 40 us are 41 ms, and two may be given up one after the
    // other. Who notices nothing times out after 134 ms, others go on for 30 times 17 ms.
    let timeout = if plan.innocents_notice_nothing { 15 } else { 12 };
    for client in &mut plan.clients {
        client.timeout = timeout;
    }
}

impl Focus {
    fn hits(self, leg: Leg, connection: u32) -> bool {
        match self {
            Focus::Everywhere => true,
            Focus::Servers => !leg.is_client_side(),
            Focus::OneClient(victim) => leg.is_client_side() && connection == victim,
            Focus::Nowhere => false,
        }
    }
}

fn choices(dice: &mut Dice, shape: &Shape) -> Choices {
    let key_map = dice.pick(&[Mapping::Modulo, Mapping::Hash, Mapping::ByConnection]);
    let server_qps = dice.between(1, 3) as u32;
    Choices {
        key_map,
        server_qps: shape.server_qps.unwrap_or(server_qps),
        fenced: dice.chance(500),
        message_packets_max: dice.pick(&[1, 4]),
        long_keys: false,
        ..Choices::default()
    }
}

fn limits(dice: &mut Dice, focus: Focus) -> Limits {
    // What does not fit the limits is dropped, and then a client notices.
    let tight = focus == Focus::Everywhere && dice.chance(400);
    Limits {
        client_window_max: if tight { dice.pick(&[1, 3, 8]) } else { 256 },
        requests_max: if tight { dice.pick(&[8, 64]) } else { 512 },
        held_responses_max: 512,
        atomic_results: 4,
        server_window_max: dice.pick(&[1, 2, 8, 256]),
        server_timeout_ns: dice.pick(&[20_000, 40_000]),
        server_retries_max: 100_000,
        disturbances_max: dice.pick(&[2, FOREVER, FOREVER, FOREVER]),
        trusts_link: dice.chance(250) && focus == Focus::Everywhere,
        ..Limits::default()
    }
}

fn client(dice: &mut Dice, i: u32, general: &General) -> Client {
    let focus = general.focus;
    let pmtu = if dice.chance(100) { 512 } else { 256 };
    let psn = dice.pick(&[0, 0xff_fffe, 0x7f_ffff, 0xff_ffe0, 1000]);
    let msn = dice.pick(&[0, 0xff_fffe, 0x7f_ffff, 5]);
    let server = server(dice, general);
    // A message of several packets that a client's own losses cut in two keeps the others
    // from that server queue pair until the client has repeated the rest.
    let mix = match focus {
        Focus::OneClient(_) => Mix { long: false, sends: true },
        _ => Mix { long: !general.tight && dice.chance(700), sends: dice.chance(700) },
    };
    let window = dice.pick(&[8, 16, 128]);
    let ack_request = dice.pick(&[
        AckRequest::EveryMessage,
        AckRequest::EveryPackets(4),
        AckRequest::LastOfBatch,
    ]);
    let mut clean = Leg::ALL.iter().all(|leg| !focus.hits(*leg, i));
    clean |= focus == Focus::Servers;
    Client {
        psn,
        msn,
        pmtu,
        domain: dice.below(general.domains) as u16,
        partition_key: PARTITION,
        tag: None,
        outstanding: dice.between(1, 8) as usize,
        stops_after: None,
        leaves: false,
        window,
        depth: dice.between(1, server.depth as u64) as usize,
        ack_request,
        // Where a client must not notice anything, its timeout must not be what is looked at.
        timeout: if focus == Focus::Everywhere { dice.between(5, 7) as u8 } else { 13 },
        // One that loses nothing needs no retries.
        retries: if clean { dice.pick(&[0, 1, 7]) } else { 100_000 },
        rnr_retries: if clean { dice.pick(&[0, 1, 7]) } else { 7 },
        responses_acknowledge: dice.chance(700),
        restart_reads: dice.chance(300),
        waits_at_holes: dice.chance(300),
        resends_at_lower_msn: dice.chance(300),
        honours_credits: dice.chance(300),
        operations: mix.draw(general.requests, dice),
        server,
    }
}

fn server(dice: &mut Dice, general: &General) -> Server {
    let server = Server {
        credits: dice.chance(100).then_some(31),
        depth: dice.between(1, 4) as usize,
        answer_delay_ns: dice.pick(&[50, 500, 2_000]),
        ..Server::default()
    };
    if dice.chance(400) {
        return server.like_rxe();
    }
    let rnr = general.rnr && general.focus == Focus::Everywhere;
    Server {
        ack_every: dice.pick(&[1, 1, 2, 4, 16]),
        ack_delay_ns: dice.pick(&[500, 5_000]),
        swallow_acks: dice.chance(500),
        duplicate_ack: dice.pick(&[DuplicateAck::Always, DuplicateAck::IfRequested]),
        resume: dice.pick(&[ResumeForm::First, ResumeForm::Middle]),
        narrow_reads: dice.chance(300),
        nak_during_rnr: dice.chance(300),
        rnr_every: if rnr { dice.pick(&[0, 2, 5]) } else { 0 },
        rnr_timer: dice.pick(&[1, 3, 5]),
        ..server
    }
}

fn rates(seed: u64, i: u32, general: &General, shape: &Shape) -> [Rates; 4] {
    let mut dice = Dice::new(seed, 4, i.into());
    Leg::ALL.map(|leg| match shape.loss {
        _ if !general.focus.hits(leg, i) => Rates::default(),
        Some(loss) => Rates { drop: (loss * MILLION) as u64, budget: u64::MAX, ..Rates::default() },
        None => draw_rates(&mut dice, general.severity),
    })
}

fn draw_rates(dice: &mut Dice, severity: u64) -> Rates {
    let mut rate = || dice.pick(&[0, 1, 1, 2]) * severity * 500;
    let (drop, double, delay, corrupt, mark) = (rate(), rate(), rate(), rate() / 2, rate() / 2);
    Rates {
        drop,
        double,
        delay,
        corrupt,
        mark,
        noise: 0,
        burst: dice.pick(&[0, 0, 2, 5]),
        delay_max: dice.pick(&[2_000, 20_000, 200_000]),
        budget: dice.between(1, 12),
    }
}
