//! Several workers over ports in memory: what each is asked, and what they hand over.

use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use arrayvec::ArrayVec;
use qpmux_engine::policy::{Atomics, Choices, Map, Steer};
use qpmux_engine::{BURST_MAX, Nanos, Side};

use super::config::with;
use super::{MemoryPort, engine};
use crate::config::StopRule;
use crate::control::capture::{Capture, CaptureSide};
use crate::control::crew::{Crew, CrewError, Stop};
use crate::control::desk::{Desk, Onward};
use crate::control::mail::{Bell, post};
use crate::copying::Copying;
use crate::driver::{Burst, Driver};
use crate::host::Host;
use crate::subnets::Subnets;
use crate::workers::{HandOver, Shares};

type Joined = HandOver<Copying<MemoryPort>>;

const SERVERS: [[u8; 4]; 2] = [[192, 0, 2, 1], [192, 0, 2, 2]];

/// Two workers, each with one of the servers; the ports of each, the clients' first.
fn two(patient: bool) -> (Vec<Joined>, Vec<[MemoryPort; 2]>) {
    let own = |server: &[u8; 4]| {
        Subnets::try_from(vec![std::net::IpAddr::from(*server).to_string()]).unwrap()
    };
    let shares = Shares::new(Subnets::default(), SERVERS.iter().map(own).collect());
    let ports: Vec<[MemoryPort; 2]> = (0..2).map(|_| Default::default()).collect();
    let driver = |[client, server]: &[MemoryPort; 2]| {
        Copying::new(client.clone(), server.clone(), 8_192, 2_048)
    };
    (HandOver::join(ports.iter().map(driver).collect(), shares, patient), ports)
}

/// A frame of RoCE's to a server, with a number.
fn frame(server: usize, number: u32) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0]);
    frame.extend([0x45, 0, 0, 64, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1]);
    frame.extend(SERVERS[server]);
    frame.extend([0xc0, 0, 0x12, 0xb7, 0, 0, 0, 0]);
    frame.extend(number.to_be_bytes());
    frame
}

/// What a round brings: frames of each burst, with its side.
fn round(driver: &mut Joined) -> Vec<(Side, Vec<Vec<u8>>)> {
    let mut bursts = Vec::new();
    let mut burst = Burst::default();
    while let Some(side) = driver.receive(&mut burst) {
        let frames: Vec<_> = burst.frames.iter().map(|held| held.frame().to_vec()).collect();
        burst.frames.drain(..).for_each(|held| driver.release(held.buffer));
        if !frames.is_empty() {
            bursts.push((side, frames));
        }
    }
    bursts
}

#[test]
fn frames_come_to_the_worker_of_their_server_in_their_order() {
    let (mut drivers, ports) = two(false);
    // All of them come to the first worker.
    let mine: Vec<_> = (0..100).map(|number| frame(0, number)).collect();
    let others: Vec<_> = (0..100).map(|number| frame(1, number)).collect();
    mine.iter().zip(&others).for_each(|(mine, other)| {
        ports[0][0].put(mine);
        ports[0][0].put(other);
    });
    let mut seen: [Vec<Vec<u8>>; 2] = Default::default();
    for _ in 0..8 {
        for (driver, seen) in drivers.iter_mut().zip(&mut seen) {
            seen.extend(round(driver).into_iter().flat_map(|(side, frames)| {
                assert_eq!(side, Side::Client);
                frames
            }));
        }
    }
    assert_eq!(seen, [mine, others]);
    let (counters, _) = drivers[0].counters(Side::Client);
    assert_eq!((counters.received, counters.handed_over, counters.hand_over_full), (200, 100, 0));
}

#[test]
fn a_round_ends_however_much_others_give() {
    let (mut drivers, ports) = two(false);
    (0..500).for_each(|number| ports[0][0].put(&frame(1, number)));
    for _ in 0..8 {
        assert!(round(&mut drivers[0]).is_empty());
        assert!(drivers[0].took_more(), "a worker that gives frames away is not idle");
    }
    assert!(!drivers[0].took_more());
    let bursts = round(&mut drivers[1]);
    let lens: Vec<usize> = bursts.iter().map(|(_, frames)| frames.len()).collect();
    assert_eq!(lens, [BURST_MAX], "one burst of each ring");
}

#[test]
fn a_side_that_changes_ends_a_burst() {
    let (mut drivers, ports) = two(false);
    let mut answer = frame(1, 7);
    let (source, destination) = (26..30, 30..34);
    answer[source].copy_from_slice(&SERVERS[1]);
    answer[destination].copy_from_slice(&[10, 0, 0, 1]);
    ports[0][0].put(&frame(1, 1));
    ports[0][1].put(&answer);
    assert!(round(&mut drivers[0]).is_empty());
    let (first, second) = (round(&mut drivers[1]), round(&mut drivers[1]));
    // A round asks the servers' port first.
    assert_eq!(first, [(Side::Server, vec![answer])]);
    assert_eq!(second, [(Side::Client, vec![frame(1, 1)])]);
}

#[test]
fn who_falls_behind_loses_the_last_and_captures_wait() {
    for patient in [false, true] {
        let (mut drivers, ports) = two(patient);
        (0..3_000).for_each(|number| ports[0][0].put(&frame(1, number)));
        (0..60).for_each(|_| drop(round(&mut drivers[0])));
        let (counters, _) = drivers[0].counters(Side::Client);
        match patient {
            false => {
                assert_eq!((counters.handed_over, counters.hand_over_full), (2_048, 952));
                assert_eq!(ports[0][0].waiting(), 0);
            }
            true => {
                assert_eq!((counters.handed_over, counters.hand_over_full), (2_048, 0));
                assert_eq!(ports[0][0].waiting(), 952);
            }
        }
        let kept: Vec<_> = (0..40).flat_map(|_| round(&mut drivers[1])).collect();
        let kept: Vec<_> = kept.into_iter().flat_map(|(_, frames)| frames).collect();
        let first: Vec<_> = (0..2_048).map(|number| frame(1, number)).collect();
        assert_eq!(kept, first);
    }
}

/// Two loops that turn until `job` is done; how each was told to go on.
fn during(rest: &str, job: impl FnOnce(&mut Crew)) -> Vec<Onward> {
    let settings = with(rest).unwrap();
    let (mut posts, mut loops) = (Vec::new(), ArrayVec::<_, 2>::new());
    for _ in 0..2 {
        let (post, mailbox) = post(Bell::new().unwrap());
        posts.push(post);
        loops.push((Desk::new(mailbox), settings.engine().unwrap()));
    }
    let mut crew = Crew::new(posts, StopRule::Ask);
    let told = Mutex::new(Vec::new());
    let over = std::sync::atomic::AtomicBool::new(false);
    let ordering = std::sync::atomic::Ordering::SeqCst;
    thread::scope(|scope| {
        for (mut desk, engine) in loops {
            let (told, over) = (&told, &over);
            scope.spawn(move || {
                let (client, server) = (MemoryPort::default(), MemoryPort::default());
                let driver = Copying::new(client.clone(), server, 256, 2_048);
                let mut host = Host::new(engine, driver, 256);
                let mut onward = Onward::Continue;
                while onward == Onward::Continue && !over.load(ordering) {
                    client.put(&[1; 60]);
                    host.turn(Nanos(1));
                    onward = desk.attend(&mut host, Nanos(1));
                    thread::sleep(Duration::from_micros(100));
                }
                told.lock().unwrap().push(onward);
            });
        }
        job(&mut crew);
        over.store(true, ordering);
    });
    told.into_inner().unwrap()
}

#[test]
fn a_crew_is_asked_as_one() {
    let most = "[policy]\nmap = 'writes'\ntrust = 'observed'\n[policy.most]\natomics = 'replace'\n";
    let told = during(most, |crew| {
        let report = crew.report().unwrap();
        assert_eq!(report.workers.len(), 2);
        let received = report.ports.client.counters.received;
        assert_eq!(received, report.workers.iter().map(|worker| worker.received).sum::<u64>());
        let to = Choices { map: Map::Writes, steer: Steer::None, atomics: Atomics::Replace };
        crew.switch(to).unwrap();
        assert_eq!(crew.policy().unwrap().0, to);
        // From what they are built for to what they begin with, and back: both of them.
        assert_eq!(crew.report().unwrap().totals["switches"], 4);
        let refused = crew.switch(Choices { map: Map::All, ..to }).unwrap_err();
        assert!(matches!(refused, CrewError::Switch(_)), "{refused}");
        assert_eq!(crew.drain(Some(true)).unwrap(), (true, 0));
        let page = crew.connections(0).unwrap();
        assert!(page.page.is_empty());
        assert_eq!(crew.connections(page.next.unwrap()).unwrap().next, None);
    });
    assert_eq!(told, [Onward::Continue; 2]);
}

#[test]
fn a_crew_stops_as_one() {
    let told = during("", |crew| assert_eq!(crew.stop(false).unwrap(), Stop::Stops(0)));
    assert_eq!(told, [Onward::Stop; 2]);
}

#[test]
fn a_capture_is_of_all_workers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.pcap");
    let told = during("", |crew| {
        let (capture, taps) =
            Capture::begin(Path::new(&file), CaptureSide::Client, 64, 50, 2).unwrap();
        crew.capture(Some(taps)).unwrap();
        while capture.status().running {
            thread::sleep(Duration::from_millis(1));
        }
        crew.capture(None).unwrap();
        assert_eq!(capture.status().frames, 50);
    });
    assert_eq!(told, [Onward::Continue; 2]);
    let mut reader = qpmux_traces::CaptureReader::open(&file).unwrap();
    let mut frames = 0;
    while reader.next_packet().unwrap().is_some() {
        frames += 1;
    }
    assert_eq!(frames, 50);
}

#[test]
fn an_engine_behind_rings_does_what_one_at_the_port_does() {
    let (mut drivers, ports) = two(false);
    let second = drivers.pop().unwrap();
    let mut host = Host::new(engine(Map::None, vec![], vec![]), second, 4_096);
    let frames: Vec<_> = (0..200).map(|number| frame(1, number)).collect();
    for frame in &frames {
        ports[0][0].put(frame);
        drop(round(&mut drivers[0]));
    }
    assert!((1..20).any(|now| !host.turn(Nanos(now))), "it has all");
    assert_eq!(ports[1][1].take_sent(), frames);
    assert_eq!((host.kept(), host.broken()), (0, 0));
}
