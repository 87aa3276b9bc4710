//! The middlebox: the engine, what its frames cost, and where they go.

use std::net::IpAddr;

use qpmux_engine::policy::{self, Directory, Grant, Map, Profile, Rights, Start, Steer};
use qpmux_engine::wire::{Classified, ClientPsn, Layout, Msn, NotRc, Opcode, Qpn, classify};
use qpmux_engine::{Counters, DomainId, Nanos, ServerQpId, Side};

use super::frames::{Frame, FrameId};
use super::op::Part;
use super::pair::{FIRST_QPN, START_PSN};
use super::port::Port;
use super::recorded::{RecordCounts, Recorder, SharedRecorder};
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
    /// Which requests a policy that steers has to look up.
    steered: Option<Profile>,
    engine: Engine,
}

/// Addresses of the queue pairs that are to be found in frames, by their place among all.
struct Addresses(Vec<Option<IpAddr>>);

impl Addresses {
    /// The place of a queue pair.
    fn find(&self, address: IpAddr, qpn: Qpn) -> Option<u32> {
        let place = qpn.value().checked_sub(FIRST_QPN)?;
        (self.0.get(place as usize) == Some(&Some(address))).then_some(place)
    }

    /// The queue pair that a frame is for, and what it is, if it is a packet of its connection.
    fn of(&self, frame: &[u8]) -> Option<(u32, Option<Layout>)> {
        match classify(frame) {
            Ok(Classified::Rc(layout)) => {
                Some((self.find(layout.destination, layout.dest_qp)?, Some(layout)))
            }
            Ok(Classified::Other(NotRc::Cnp(notice))) => {
                Some((self.find(notice.target.destination, notice.target.dest_qp)?, None))
            }
            _ => None,
        }
    }
}

/// The engine in it.
struct Engine {
    host: Host,
    addresses: Addresses,
    wake: Ps,
    recorder: Option<SharedRecorder>,
}

impl Middle {
    /// Whether a frame makes a list longer, or is going to: where requests are steered, that is
    /// looked up, and changes where later ones go.
    pub(super) fn steers(&self, frame: &Frame) -> bool {
        let Some((profile, layout)) = self.steered.as_ref().zip(frame.layout) else { return false };
        let bytes = frame.bytes();
        match layout.opcode {
            Opcode::CompareSwap => profile.list().zip(layout.atomic_eth(bytes)),
            opcode if opcode.is_write() => {
                return layout.reth(bytes).is_some_and(|reth| profile.is_slot(reth.dma_length));
            }
            _ => None,
        }
        .is_some_and(|(form, atomic)| form.as_last(atomic.compare).is_some())
    }
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
        let station = Station::new(costs, translates, self.pairs.len() / 2);
        let steers = setup.policy.steer != Steer::None;
        let steered = steers.then(|| setup.policy.profile.clone());
        self.middle = Some(Middle { station, ingress, steered, engine });
        Ok(())
    }

    fn engine(
        &self,
        setup: &EngineSetup,
        memory: &[Vec<Region>],
        depth: usize,
    ) -> Result<Engine, EngineError> {
        let start = Start { psn: ClientPsn::new(START_PSN), msn: Msn::new(0), credits: 0 };
        let mut known = Vec::new();
        let mut addresses = vec![None; self.pairs.len()];
        let mut grants = Vec::new();
        for (number, pair) in (0..).zip(&self.pairs).filter(|(_, pair)| pair.passes_middlebox) {
            addresses[number as usize] = Some(pair.link.path.source);
            if number % 2 == 0 {
                let server = self.pairs[number as usize + 1].machine;
                let connection = pair.link.known(start, depth);
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
        let (host, recorder) = Recorder::of(host, &setup.config);
        let addresses = Addresses(addresses);
        Ok(Engine { host, addresses, wake: Ps::MAX, recorder })
    }

    /// What the engine has counted, if there is one.
    pub(crate) fn engine_counters(&self) -> Option<Counters> {
        Some(self.middle.as_ref()?.engine.host.counters())
    }

    /// What the engine has recorded, if it keeps a log.
    pub(crate) fn recorded(&self) -> Option<RecordCounts> {
        let recorder = self.middle.as_ref()?.engine.recorder.as_ref()?;
        Some(recorder.borrow().counts())
    }

    /// What the middlebox has seen, if there is one.
    pub(crate) fn box_counts(&self) -> Option<super::BoxCounts> {
        self.middle.as_ref().map(|middle| middle.station.counts)
    }

    /// What becomes of a frame is added to what the core has made. Returns the connection whose
    /// server queue pair's state was changed for it.
    pub(super) fn translate(&mut self, id: FrameId, core: usize) -> usize {
        let now = self.queue.now();
        let Some(middle) = &mut self.middle else { return 0 };
        let came = self.frames.get(id);
        let (came_to, op, layout, len) = (came.to, came.op, came.layout, came.bytes().len());
        let side = if came_to % 2 == 1 { Side::Client } else { Side::Server };
        let Engine { host, addresses, .. } = &mut middle.engine;
        let frames = &mut self.frames;
        let room = frames.lend(id);
        let bytes = &room[..len];
        // What leaves as it came needs no second look, and no copy.
        let mut left = Some(id);
        let Station { cores, order, .. } = &mut middle.station;
        let made = &mut cores[core].made;
        let mut to_server = None;
        host.offer(0, side, Nanos(now / NS), bytes, &mut |_, frame| {
            let (to, id) = match left.take_if(|_| layout.is_some() && frame == bytes) {
                Some(id) => (came_to, id),
                None => {
                    let Some((to, out)) = addresses.of(frame) else { return };
                    let both = layout.as_ref().zip(out.as_ref());
                    let is_part = both.is_some_and(|(came, out)| is_same(came, bytes, out, frame));
                    let Some(id) = frames.copy(to, op.filter(|_| is_part), frame, out) else {
                        return;
                    };
                    (to, id)
                }
            };
            to_server = to_server.or((to % 2 == 1).then_some(to));
            order.made(to, id);
            made.push(id);
        });
        frames.take_back(id, room);
        if let Some(id) = left {
            frames.give_back(id);
        }
        // A request's is where it went. It may wait in the engine, or have been answered by it.
        let state = if side == Side::Client { to_server.unwrap_or(came_to) } else { came_to };
        state as usize / 2
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
        let Some(Middle { engine, station, .. }) = &mut self.middle else { return };
        if engine.wake != now {
            return;
        }
        engine.wake = Ps::MAX;
        let mut made = Vec::new();
        let Engine { host, addresses, .. } = engine;
        let frames = &mut self.frames;
        host.timeout(Nanos(now / NS), &mut |_, frame| {
            let Some((to, layout)) = addresses.of(frame) else { return };
            let Some(id) = frames.copy(to, None, frame, layout) else { return };
            station.order.made(to, id);
            made.push(id);
        });
        made.into_iter().for_each(|frame| self.on_handed_over(frame));
        self.set_box_timer();
    }

    pub(super) fn set_box_timer(&mut self) {
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

/// Whether what leaves is what came: where requests wait in the engine, it may be an earlier one.
fn is_same(came: &Layout, bytes: &[u8], out: &Layout, frame: &[u8]) -> bool {
    came.opcode == out.opcode
        && came.reth(bytes) == out.reth(frame)
        && came.atomic_eth(bytes) == out.atomic_eth(frame)
        && came.payload(bytes) == out.payload(frame)
}
