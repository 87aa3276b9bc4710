//! The ports of all workers, and the pool of all buffers.

use arrayvec::ArrayVec;
use qpmux_engine::{BURST_MAX, Side};
use tracing::info;

use super::devices::RING_ROOM_AFTER;
use super::driver::WAITING_MAX;
use super::eal::Timestamps;
use super::mbuf::CACHE;
use super::stick::Stick;
use super::{Dpdk, DpdkError, Eal, EthPort, PacketClock, Pool, PortPlan};
use crate::config::Neighbour;
use crate::driver::ROOM_AFTER;
use crate::subnets::Subnets;
use crate::workers::{Shares, held_max};

/// Bytes of a buffer behind the longest frame.
const POOL_ROOM_AFTER: usize =
    if ROOM_AFTER > RING_ROOM_AFTER { ROOM_AFTER } else { RING_ROOM_AFTER };

/// What is to be opened.
#[derive(Debug)]
pub struct DpdkPlan<'a> {
    /// The clients' port and the servers', or one for both.
    pub ports: Vec<PortPlan>,
    /// Frames that each worker's host has at a time at most.
    pub frames: u32,
    /// If frames tell the time.
    pub clock: Option<PacketClock>,
    /// The servers' subnets, where both sides share a port.
    pub servers: &'a Subnets,
    /// Where frames go next there.
    pub neighbours: &'a [Neighbour],
    /// The workers.
    pub shares: &'a Shares,
}

/// Ports that run. They end with this, which outlives all that uses them.
pub struct Ports<'eal> {
    ports: ArrayVec<EthPort<'eal>, 2>,
    stick: Option<Stick>,
    pool: Pool<'eal>,
    clock: Option<(PacketClock, Timestamps)>,
    frame_len_max: usize,
}

impl<'eal> Ports<'eal> {
    /// Opens the ports.
    ///
    /// # Errors
    /// What DPDK refuses.
    pub fn open(eal: &'eal Eal, plan: &DpdkPlan<'_>) -> Result<Ports<'eal>, DpdkError> {
        let frame_len_max = plan.ports.iter().map(|port| port.frame_len_max).max().unwrap_or(0);
        let buffers = buffers(plan);
        let count = u32::try_from(buffers).map_err(|_| {
            let what = format!("no memory for {buffers} buffers");
            DpdkError::ours(what, "rte_pktmbuf_pool_create", "limits.frames is too large")
        })?;
        let pool = Pool::new(eal, "frames", count, frame_len_max, POOL_ROOM_AFTER, -1)?;
        let shared = plan.ports.len() == 1;
        let sides = [Some(Side::Client), Some(Side::Server)].map(|side| side.filter(|_| !shared));
        let open = |(port, side)| EthPort::open(eal, port, side, &pool);
        let ports: ArrayVec<_, 2> =
            plan.ports.iter().zip(sides).map(open).collect::<Result<_, DpdkError>>()?;
        bring(plan, &ports);
        bring_all(plan, &ports)?;
        // Known only once the driver is there.
        let clock = plan.clock.map(|clock| Ok::<_, DpdkError>((clock, eal.timestamps()?)));
        let stick = shared.then(|| Stick::new(plan.servers.clone(), plan.neighbours));
        Ok(Ports { ports, stick, pool, clock: clock.transpose()?, frame_len_max })
    }

    /// The drivers of all workers.
    pub fn drivers(&mut self) -> Vec<Dpdk<'_>> {
        let (stick, pool, clock) = (&self.stick, &self.pool, self.clock);
        let mut lines: Vec<ArrayVec<_, 2>> = Vec::new();
        for port in &mut self.ports {
            for (worker, queue) in port.queues().enumerate() {
                if worker == lines.len() {
                    lines.push(ArrayVec::new());
                }
                lines[worker].push(queue);
            }
        }
        let driver = |queues: ArrayVec<_, 2>| {
            Dpdk::new(queues.into_iter(), stick.clone(), pool.clone(), clock, self.frame_len_max)
        };
        lines.into_iter().map(driver).collect()
    }
}

/// Buffers of a pool that cannot run out: for what hosts have, for what ports hold, for what waits
/// to be sent or is on its way to another worker, for a burst that is looked at, and for what
/// threads keep at hand, which is up to one and a half times what they are told to.
fn buffers(plan: &DpdkPlan<'_>) -> usize {
    let workers = plan.shares.workers();
    let held = |port: &PortPlan| {
        usize::from(port.receive_descriptors) + usize::from(port.send_descriptors) + WAITING_MAX
    };
    let queues: usize = plan.ports.iter().map(held).sum();
    let at_hand = CACHE as usize * 3 / 2;
    let each = plan.frames as usize + queues + 2 * BURST_MAX + at_hand;
    workers * each + held_max(workers) + at_hand
}

/// Has an isolated port bring the servers' RoCE packets, without which it brings nothing.
fn bring_all(plan: &DpdkPlan<'_>, ports: &[EthPort<'_>]) -> Result<(), DpdkError> {
    for (port, told) in ports.iter().zip(&plan.ports).filter(|(_, told)| told.isolated) {
        let prefixes = plan.servers.prefixes();
        info!("the rest of the port stays the kernel's; {} rules bring RoCE", 2 * prefixes.len());
        for prefix in prefixes {
            port.bring(told, &prefix, false, 0)?;
            port.bring(told, &prefix, true, 0)?;
        }
    }
    Ok(())
}

/// Has ports bring servers' packets to their workers, where servers are given by name. A driver
/// that cannot is no error: workers hand over what is not theirs.
fn bring(plan: &DpdkPlan<'_>, ports: &[EthPort<'_>]) {
    let mut rules = 0;
    let named = plan.shares.named().iter().enumerate().filter(|_| plan.shares.workers() > 1);
    for (worker, prefix) in named.flat_map(|(worker, named)| {
        named.prefixes().into_iter().map(move |prefix| (worker as u16, prefix))
    }) {
        for (at, (port, told)) in ports.iter().zip(&plan.ports).enumerate() {
            // To servers on the clients' port, from servers on theirs; on one for both, both.
            let from =
                [false, true].into_iter().filter(|from| ports.len() < 2 || *from == (at == 1));
            for from in from {
                match port.bring(told, &prefix, from, worker) {
                    Ok(()) => rules += 1,
                    Err(error) => {
                        info!("{error}: workers hand over what the port does not bring them");
                        return;
                    }
                }
            }
        }
    }
    if rules > 0 {
        info!("{rules} rules in the ports bring servers' frames to their workers");
    }
}
