//! The middlebox: the engine, what its frames cost, and where they go.

use std::collections::HashMap;
use std::net::IpAddr;

use qpmux_engine::policy::{self, Directory, Grant, Map, Rights};
use qpmux_engine::wire::{Classified, Layout, NotRc, classify};
use qpmux_engine::{Counters, DomainId, Nanos, ServerQpId, ShardId, Side};

use super::frames::FrameId;
use super::op::Part;
use super::pair::START_PSN;
use super::port::Port;
use super::station::{BoxParams, Station};
use super::{Cluster, Event};
use crate::event::{NS, Ps};
use crate::fabric::{EngineError, EngineSetup};
use crate::host::Host;
use crate::rc::Region;

/// Ports towards middleboxes are numbered from here on, those towards machines from 0.
const BOX_PORTS: u64 = 1 << 16;

/// What stands between clients and server.
pub(super) struct Middle {
    pub(super) station: Station,
    /// The switch's ports towards it: for what comes from clients, and from servers.
    pub(super) ingress: [Port; 2],
    /// Whether frames are translated; if not they are only looked at.
    translates: bool,
    engine: Engine,
}

/// The engine in it.
struct Engine {
    host: Host,
    /// Queue pairs by address and number.
    pairs: HashMap<(IpAddr, u32), u32>,
    wake: Ps,
}

impl<A: Copy, N: Copy> Cluster<A, N> {
    /// Puts a middlebox in the way of all connections, with an engine that translates them from
    /// the start. Who asks is the first one of each connection. `regions` has the memory of each
    /// machine that others reach.
    pub(crate) fn put_between(
        &mut self,
        costs: &BoxParams,
        setup: &EngineSetup,
        regions: &[Vec<Region>],
        depth: usize,
    ) -> Result<(), EngineError> {
        let engine = self.engine(setup, regions, depth)?;
        let translates = setup.policy.map != Map::None;
        let port = |number| Port::new(costs.link_gbps, &self.network, self.seed, number);
        let ingress = [port(BOX_PORTS), port(BOX_PORTS + 1)];
        self.middle = Some(Middle { station: Station::new(costs), ingress, translates, engine });
        Ok(())
    }

    fn engine(
        &self,
        setup: &EngineSetup,
        memory: &[Vec<Region>],
        depth: usize,
    ) -> Result<Engine, EngineError> {
        let mut known = Vec::new();
        let mut pairs = HashMap::new();
        let mut grants = Vec::new();
        for (number, pair) in (0..).zip(&self.pairs).filter(|(_, pair)| pair.passes_middlebox) {
            pairs.insert((pair.link.path.source, pair.link.qpn.value()), number);
            if number % 2 == 0 {
                let server = self.pairs[number as usize + 1].machine;
                let connection = pair.link.known(START_PSN, depth, ShardId(0));
                let server_qp = ServerQpId(known.len() as u32);
                known.push(policy::Connection { domain: DomainId(server as u16), ..connection });
                grants.extend(memory.get(server).into_iter().flatten().map(|region| Grant {
                    server_qp,
                    remote_key: region.rkey,
                    rights: Rights::ALL,
                }));
            }
        }
        let regions = (0..).zip(memory).flat_map(|(server, regions)| {
            regions.iter().map(move |r| policy::Region {
                domain: DomainId(server),
                remote_key: r.rkey,
                start: r.address,
                end: r.address.wrapping_add(r.length),
            })
        });
        let directory = Directory::new(known, regions.collect(), grants, &setup.policy)?;
        let host = Host::new(&setup.config, &setup.policy, &directory, 1)?;
        Ok(Engine { host, pairs, wake: Ps::MAX })
    }

    /// What the engine has counted, if there is one.
    pub(crate) fn engine_counters(&self) -> Option<Counters> {
        Some(self.middle.as_ref()?.engine.host.counters())
    }

    /// What the middlebox has seen, if there is one.
    pub(crate) fn box_counts(&self) -> Option<super::BoxCounts> {
        self.middle.as_ref().map(|middle| middle.station.counts)
    }

    /// A frame comes to the middlebox.
    pub(super) fn on_middle(&mut self, id: FrameId) {
        let frame = self.frames.get(id);
        let Some(middle) = &mut self.middle else { return };
        middle.station.counts.received += 1;
        middle.station.counts.received_bytes += frame.bytes().len() as u64;
        match middle.station.receive(frame.to as usize / 2, id) {
            Ok(Some(core)) => self.on_burst(core as u32),
            Ok(None) => {}
            Err(()) => self.lose(id),
        }
    }

    /// A core has done all that it took, and takes what has come since.
    fn on_burst(&mut self, core: u32) {
        let Some(middle) = &mut self.middle else { return };
        if middle.station.take_burst(core as usize) {
            self.on_core(core);
        }
    }

    /// A core begins with its next frame, or sends what it has made of a burst.
    fn on_core(&mut self, core: u32) {
        let now = self.queue.now();
        let Some(middle) = &mut self.middle else { return };
        let Some(&id) = middle.station.cores[core as usize].burst.front() else {
            let mut out = std::mem::take(&mut middle.station.cores[core as usize].out);
            out.drain(..).for_each(|frame| self.leave(frame));
            if let Some(middle) = &mut self.middle {
                middle.station.cores[core as usize].out = out;
            }
            self.on_burst(core);
            return;
        };
        let bytes = self.frames.get(id).bytes().len();
        let (work, locked) = middle.station.times(bytes, middle.translates);
        let event = match locked {
            0 => Event::Core(core),
            _ => Event::CoreLocks(core, locked),
        };
        self.queue.at(now + work, event);
    }

    /// A core has done a frame. All cores' work on the engine's state is in the order in which
    /// they end it.
    pub(super) fn on_core_done(&mut self, core: u32) {
        let now = self.queue.now();
        let Some(middle) = &mut self.middle else { return };
        let hand_over = middle.station.hand_over();
        let Some(id) = middle.station.cores[core as usize].burst.pop_front() else { return };
        for frame in self.translate(id) {
            match (hand_over, &mut self.middle) {
                (None, Some(middle)) => middle.station.cores[core as usize].out.push(frame),
                (Some(time), _) => self.queue.at(now + time, Event::Leave(frame)),
                (None, None) => {}
            }
        }
        self.set_box_timer();
        self.on_core(core);
    }

    /// A core wants the lock, to have it for so long.
    pub(super) fn on_core_locks(&mut self, core: u32, time: Ps) {
        let Some(middle) = &mut self.middle else { return };
        if middle.station.lock.acquire(core) {
            self.queue.after(time, Event::CoreUnlocks(core, time));
        }
    }

    /// A core gives the lock back.
    pub(super) fn on_core_unlocks(&mut self, core: u32, time: Ps) {
        let Some(middle) = &mut self.middle else { return };
        if let Some((next, cost)) = middle.station.lock.release(middle.station.hand_off) {
            self.queue.after(cost + time, Event::CoreUnlocks(next, time));
        }
        self.on_core_done(core);
    }

    /// What becomes of a frame.
    fn translate(&mut self, id: FrameId) -> Vec<FrameId> {
        let now = self.queue.now();
        let Some(middle) = &mut self.middle else { return vec![id] };
        let came = self.frames.get(id);
        let side = if came.to % 2 == 1 { Side::Client } else { Side::Server };
        let (op, layout, bytes) = (came.op, came.layout, came.bytes().to_vec());
        self.frames.give_back(id);
        let mut sent = Vec::new();
        let Engine { host, pairs, .. } = &mut middle.engine;
        let frames = &mut self.frames;
        host.offer(0, side, Nanos(now / NS), &bytes, &mut |_, frame| {
            let Some((to, out)) = address(pairs, frame) else { return };
            let both = layout.as_ref().zip(out.as_ref());
            let op =
                op.filter(|_| both.is_some_and(|(came, out)| is_same(came, &bytes, out, frame)));
            sent.extend(frames.write(to, op, |buffer| copy(frame, buffer)));
        });
        sent
    }

    /// A frame leaves the middlebox.
    pub(super) fn leave(&mut self, id: FrameId) {
        let now = self.queue.now();
        let frame = self.frames.get(id);
        let (to, op, len) = (frame.to, frame.op, frame.bytes().len());
        let machine = self.pairs[to as usize].machine;
        let Some(middle) = &mut self.middle else { return };
        let passed = middle.station.send(now, to % 2 == 1, len);
        self.ops.mark(op, Part::Middlebox, passed);
        let there = passed + self.machines[machine].times.wire / 2;
        self.ops.mark(op, Part::Wire, there);
        self.queue.at(there, Event::Egress(id));
    }

    /// A deadline of the engine may have passed.
    pub(super) fn on_box_timer(&mut self) {
        let now = self.queue.now();
        let Some(Middle { engine, .. }) = &mut self.middle else { return };
        if engine.wake != now {
            return;
        }
        engine.wake = Ps::MAX;
        let mut sent = Vec::new();
        let Engine { host, pairs, .. } = engine;
        let frames = &mut self.frames;
        host.timeout(Nanos(now / NS), &mut |_, frame| {
            let Some((to, _)) = address(pairs, frame) else { return };
            sent.extend(frames.write(to, None, |buffer| copy(frame, buffer)));
        });
        sent.into_iter().for_each(|frame| self.leave(frame));
        self.set_box_timer();
    }

    fn set_box_timer(&mut self) {
        let now = self.queue.now();
        let Some(Middle { engine, .. }) = &mut self.middle else { return };
        let Some(Nanos(due)) = engine.host.next_deadline(Nanos(now / NS)) else { return };
        let due = (due * NS).max(now + NS);
        if due < engine.wake {
            engine.wake = due;
            self.queue.at(due, Event::BoxTimer);
        }
    }
}

fn copy(frame: &[u8], buffer: &mut [u8]) -> Option<usize> {
    buffer.get_mut(..frame.len())?.copy_from_slice(frame);
    Some(frame.len())
}

/// The queue pair that a frame is for, and what it is, if it is a packet of its connection.
fn address(pairs: &HashMap<(IpAddr, u32), u32>, frame: &[u8]) -> Option<(u32, Option<Layout>)> {
    match classify(frame) {
        Ok(Classified::Rc(layout)) => {
            let to = *pairs.get(&(layout.destination, layout.dest_qp.value()))?;
            Some((to, Some(layout)))
        }
        Ok(Classified::Other(NotRc::Cnp(notice))) => {
            let to = (notice.target.destination, notice.target.dest_qp.value());
            pairs.get(&to).map(|to| (*to, None))
        }
        _ => None,
    }
}

/// Whether what leaves is what came: where requests wait in the engine, it may be an earlier one.
fn is_same(came: &Layout, bytes: &[u8], out: &Layout, frame: &[u8]) -> bool {
    came.opcode == out.opcode
        && came.reth(bytes) == out.reth(frame)
        && came.atomic_eth(bytes) == out.atomic_eth(frame)
        && came.payload(bytes) == out.payload(frame)
}
