//! The loop around the loops: opens what the configuration names, starts the workers, and waits
//! until they have stopped.

mod idle;
mod pair;
mod start;
mod succession;
mod turns;

use std::path::Path;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sched::sched_setaffinity;
use nix::unistd::Pid;
use tracing::info;

use crate::config::{Places, Settings};
use crate::control::crew::Crew;
use crate::control::desk::Desk;
use crate::control::foreman::Foreman;
use crate::control::mail::Bell;
use crate::copying::Copying;
use crate::driver::Driver;
use crate::host::Host;
use crate::operations::Operations;
use crate::packet::PacketPort;
use crate::report::Report;
use crate::standby::{Pair, Status};
use crate::wait::{Signals, Wake};

use idle::Idle;
use start::{Start, begin_alone, starts};
use turns::{Turns, on_sockets};

/// What the command line adds to the configuration.
#[derive(Debug)]
pub struct Run<'a> {
    /// The configuration.
    pub settings: &'a Settings,
    /// The file that it is from.
    pub path: &'a Path,
    /// Take over from a program that runs with these settings.
    pub take_over: bool,
    /// Stop when nothing has come in for so long.
    pub until_idle: Option<Duration>,
}

/// How a run has ended.
#[derive(Debug)]
pub enum End {
    /// It was asked to stop: what was counted.
    Counted(Box<Report>),
    /// The program is to begin anew, as the same process.
    Again,
}

/// Rings when its worker has ended, however that was.
struct Ended(Bell);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ring();
    }
}

impl Run<'_> {
    /// Runs until asked to stop.
    ///
    /// # Errors
    /// What the operating system or DPDK refuses.
    pub fn run(&self) -> anyhow::Result<End> {
        let signals = Signals::new().context("cannot wait for signals")?;
        // Until the end of everything else.
        let _lock = match self.take_over {
            true => succession::take_over(self.settings)?,
            false => succession::begin(self.settings)?,
        };
        let status = Status::default();
        match Pair::begin(self.settings, &status)? {
            Some(pair) => self.as_one_of_two(pair, &status, &signals),
            None => {
                let begun = begin_alone(self.settings)?;
                let (starts, crew) = starts(self.settings, &Idle::new(self.until_idle), begun)?;
                Ok(End::Counted(Box::new(self.forward(starts, crew, &signals)?)))
            }
        }
    }

    /// Runs for as long as this host is the one that forwards.
    fn forward(
        &self,
        starts: Vec<Start>,
        mut crew: Crew,
        signals: &Signals,
    ) -> anyhow::Result<Report> {
        // Its threads end when this does.
        let _operations = Operations::start(self.settings, &crew)?;
        let (floor, cap) = self.settings.server_timeouts();
        let frames = self.settings.frames();
        match self.settings.places()? {
            Places::Interfaces(client, server) => {
                info!("clients on {client}, servers on {server}, {frames} buffers");
                info!("server timeouts: adaptive between {floor:?} and {cap:?}");
                self.on_interfaces(starts, signals, &mut crew, [client, server])
            }
            Places::Ports(client, server) => {
                info!("clients on port {client}, servers on port {server}, {frames} buffers");
                info!("server timeouts: adaptive between {floor:?} and {cap:?}");
                self.on_ports(starts, signals, &mut crew, &[client, server])
            }
            Places::OnePort(port) => {
                info!("clients and servers on port {port}, {frames} buffers");
                info!("server timeouts: adaptive between {floor:?} and {cap:?}");
                self.on_ports(starts, signals, &mut crew, &[port])
            }
        }
    }

    fn on_interfaces(
        &self,
        starts: Vec<Start>,
        signals: &Signals,
        crew: &mut Crew,
        names: [&str; 2],
    ) -> anyhow::Result<Report> {
        let settings = self.settings;
        let open = |name: &str| {
            PacketPort::open(name, settings.socket_buffer_bytes())
                .with_context(|| format!("interface '{name}'"))
        };
        let (client, server) = (open(names[0])?, open(names[1])?);
        let driver = Copying::new(client, server, settings.frames(), settings.frame_len_max());
        self.work(starts, vec![driver], signals, crew, &|| (), &on_sockets)
    }

    #[cfg(not(feature = "dpdk"))]
    fn on_ports(
        &self,
        _: Vec<Start>,
        _: &Signals,
        _: &mut Crew,
        _: &[&str],
    ) -> anyhow::Result<Report> {
        anyhow::bail!(
            "this program was built without DPDK: name interfaces instead of ports, or build with \
             --features dpdk"
        )
    }

    #[cfg(feature = "dpdk")]
    fn on_ports(
        &self,
        starts: Vec<Start>,
        signals: &Signals,
        crew: &mut Crew,
        devices: &[&str],
    ) -> anyhow::Result<Report> {
        use crate::dpdk::{DpdkPlan, Eal, PacketClock, PortPlan, Ports, with_defaults};
        use crate::workers::HandOver;

        let settings = self.settings;
        let dpdk = settings.dpdk.clone().unwrap_or_default();
        let eal = Eal::start(&dpdk.eal)?;
        info!("{}", Eal::version());
        let (workers, shares) = (starts.len(), settings.shares());
        let port = |device: &&str| PortPlan {
            device: with_defaults(device, settings.frame_len_max(), workers),
            queues: workers as u16,
            receive_descriptors: dpdk.receive_descriptors,
            send_descriptors: dpdk.send_descriptors,
            frame_len_max: settings.frame_len_max(),
            isolated: dpdk.isolate,
        };
        let plan = DpdkPlan {
            ports: devices.iter().map(port).collect(),
            frames: settings.frames(),
            clock: settings.clock.packets().map(|unit_ns| PacketClock { unit_ns }),
            servers: &settings.servers,
            neighbours: &settings.neighbour,
            shares: &shares,
        };
        let mut ports = Ports::open(&eal, &plan)?;
        // Captures can wait.
        let told = settings.clock.packets().is_some();
        let drivers = HandOver::join(ports.drivers(), shares.clone(), told);
        let idle_sleep = Duration::from_micros(dpdk.idle_sleep_us.into());
        let enter = || eal.enter_thread();
        self.work(starts, drivers, signals, crew, &enter, &|turns| turns.poll(idle_sleep, told))
    }

    /// Starts a thread for each worker, and waits for the end of all. Each thread begins with
    /// `enter`, whose result it keeps.
    fn work<D: Driver + Send, E>(
        &self,
        starts: Vec<Start>,
        drivers: Vec<D>,
        signals: &Signals,
        crew: &mut Crew,
        enter: &(impl Fn() -> E + Sync),
        turn: &(impl Fn(&mut Turns<D>) -> anyhow::Result<()> + Sync),
    ) -> anyhow::Result<Report>
    where
        D::Buffer: Send,
    {
        let ended = Bell::new().context("cannot make a bell")?;
        // Engines that go on count from here how long others may take to answer: not before ports
        // are open.
        let clock = Instant::now();
        thread::scope(|scope| {
            let mut threads = Vec::with_capacity(starts.len());
            for (number, (start, driver)) in starts.into_iter().zip(drivers).enumerate() {
                let ended = Ended(ended.clone());
                let work = move || {
                    let _ended = ended;
                    if let Some(processors) = &start.processors {
                        sched_setaffinity(THIS_THREAD, processors)
                            .context("worker.core must be a processor that this program may use")?;
                    }
                    let _entered = enter();
                    let mut turns = self.turns(start, driver, clock);
                    turn(&mut turns)?;
                    let report = turns.report();
                    turns.end_journal()?;
                    Ok(report)
                };
                let named = thread::Builder::new().name(format!("worker {number}"));
                let spawned = named.spawn_scoped(scope, work).context("cannot start a thread");
                match spawned {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        crew.end();
                        return Err(error);
                    }
                }
            }
            let watched = self.watch(signals, crew, &ended);
            // One has ended, or nobody can be told to: so do all.
            crew.end();
            let report = join(threads);
            watched?;
            report
        })
    }

    fn turns<D: Driver>(&self, start: Start, driver: D, clock: Instant) -> Turns<D> {
        let Start { engine, journal, mailbox, bell, idle, addresses, .. } = start;
        let mut host = Host::new(engine, driver, self.settings.frames());
        host.beside().set_servers(self.settings.servers.clone());
        host.shedder().enable(self.settings.sheds_overload());
        host.shedder().set_room(self.settings.frames_waiting_max());
        if let Some(journal) = journal {
            host.set_journal(journal);
        }
        host.announce(&addresses);
        Turns { host, desk: Desk::new(mailbox), bell, clock, idle }
    }

    /// Hears signals until a worker has ended.
    fn watch(&self, signals: &Signals, crew: &mut Crew, ended: &Bell) -> anyhow::Result<()> {
        let mut foreman = Foreman::new(self.settings, self.path);
        loop {
            match signals.wait(ended).context("cannot wait for signals")? {
                Wake::Bell => return Ok(()),
                Wake::Reload => foreman.on_reload(crew),
                Wake::Stop(signal) => foreman.on_stop(crew, signal, Instant::now()),
            }
        }
    }
}

/// The reports of all workers as one.
fn join(threads: Vec<ScopedJoinHandle<'_, anyhow::Result<Report>>>) -> anyhow::Result<Report> {
    let mut sum: Option<Report> = None;
    let mut failed = None;
    for (number, thread) in threads.into_iter().enumerate() {
        let panicked = |_| Err(anyhow::anyhow!("it has panicked"));
        match thread.join().unwrap_or_else(panicked) {
            Ok(report) => match &mut sum {
                Some(sum) => sum.merge(report),
                None => sum = Some(report),
            },
            Err(error) => {
                failed.get_or_insert(error.context(format!("worker {number}")));
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None => sum.context("there is no worker"),
    }
}

/// How the calling thread is named to the scheduler.
const THIS_THREAD: Pid = Pid::from_raw(0);
