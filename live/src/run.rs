//! The loop around the loop: opens what the configuration names, and turns until asked to stop.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use qpmux_engine::{Engine, Nanos};
use tracing::info;

use crate::config::{Places, Settings};
use crate::control::desk::{Desk, Onward};
use crate::copying::Copying;
use crate::driver::Driver;
use crate::host::Host;
use crate::operations::Operations;
use crate::packet::PacketPort;
use crate::reload::reload;
use crate::report::Report;
use crate::wait::{Waiter, Wake};

/// What the command line adds to the configuration.
#[derive(Debug)]
pub struct Run<'a> {
    /// The configuration.
    pub settings: &'a Settings,
    /// The file that it is from.
    pub path: &'a Path,
    /// Stop when nothing has come in for so long.
    pub until_idle: Option<Duration>,
}

impl Run<'_> {
    /// Runs until asked to stop, and says what was counted.
    ///
    /// # Errors
    /// What the operating system or DPDK refuses.
    pub fn run(&self, engine: Engine) -> anyhow::Result<Report> {
        let waiter = Waiter::new().context("cannot wait for signals")?;
        // Its threads end when this does.
        let (_operations, mut desk) = Operations::start(self.settings, waiter.bell())?;
        let (floor, cap) = self.settings.server_timeouts();
        let frames = self.settings.frames();
        match self.settings.places()? {
            Places::Interfaces(client, server) => {
                info!("clients on {client}, servers on {server}, {frames} buffers");
                info!("server timeouts: adaptive between {floor:?} and {cap:?}");
                self.on_interfaces(engine, &waiter, &mut desk, [client, server])
            }
            Places::Ports(client, server) => {
                info!("clients on port {client}, servers on port {server}, {frames} buffers");
                info!("server timeouts: adaptive between {floor:?} and {cap:?}");
                self.on_ports(engine, &waiter, &mut desk, &[client, server])
            }
            Places::OnePort(port) => {
                info!("clients and servers on port {port}, {frames} buffers");
                info!("server timeouts: adaptive between {floor:?} and {cap:?}");
                self.on_ports(engine, &waiter, &mut desk, &[port])
            }
        }
    }

    fn on_interfaces(
        &self,
        engine: Engine,
        waiter: &Waiter,
        desk: &mut Desk,
        names: [&str; 2],
    ) -> anyhow::Result<Report> {
        let settings = self.settings;
        let open = |name: &str| {
            PacketPort::open(name, settings.socket_buffer_bytes())
                .with_context(|| format!("interface '{name}'"))
        };
        let (client, server) = (open(names[0])?, open(names[1])?);
        let frames = settings.frames();
        let driver = Copying::new(client, server, frames, settings.frame_len_max());
        let mut host = Host::new(engine, driver, frames);
        host.beside().set_servers(settings.servers.clone());
        let clock = Instant::now();
        let mut idle = Idle::new(self.until_idle);
        loop {
            let deadline = host.next_deadline();
            let at_most = deadline.map(|at| Duration::from_nanos(at.0 - at.0.min(time(clock).0)));
            let at_most = at_most.into_iter().chain(self.until_idle).min();
            let ports = host.driver().ports().each_ref().map(AsFd::as_fd);
            let wake = waiter.wait(&ports, at_most).context("cannot wait for frames")?;
            let now = time(clock);
            if self.heeds(wake, &mut host, desk, now) || idle.is_over(host.turn(now)) {
                return Ok(Report::of(&mut host, time(clock)));
            }
        }
    }

    #[cfg(not(feature = "dpdk"))]
    fn on_ports(&self, _: Engine, _: &Waiter, _: &mut Desk, _: &[&str]) -> anyhow::Result<Report> {
        anyhow::bail!(
            "this program was built without DPDK: name interfaces instead of ports, or build with \
             --features dpdk"
        )
    }

    #[cfg(feature = "dpdk")]
    fn on_ports(
        &self,
        engine: Engine,
        waiter: &Waiter,
        desk: &mut Desk,
        devices: &[&str],
    ) -> anyhow::Result<Report> {
        use crate::dpdk::{Dpdk, DpdkPlan, Eal, PacketClock, PortPlan, with_defaults};

        let settings = self.settings;
        let dpdk = settings.dpdk.clone().unwrap_or_default();
        let eal = Eal::start(&dpdk.eal)?;
        info!("{}", Eal::version());
        let port = |device: &&str| PortPlan {
            device: with_defaults(device, settings.frame_len_max()),
            receive_descriptors: dpdk.receive_descriptors,
            send_descriptors: dpdk.send_descriptors,
            frame_len_max: settings.frame_len_max(),
        };
        let plan = DpdkPlan {
            ports: devices.iter().map(port).collect(),
            frames: settings.frames(),
            clock: settings.clock.packets().map(|unit_ns| PacketClock { unit_ns }),
            servers: &settings.servers,
            neighbours: &settings.neighbour,
        };
        let driver = Dpdk::open(&eal, &plan)?;
        let mut host = Host::new(engine, driver, settings.frames());
        host.beside().set_servers(settings.servers.clone());
        self.poll(&mut host, waiter, desk, Duration::from_micros(dpdk.idle_sleep_us.into()))
    }

    /// Turns without waiting, and looks at signals and letters now and then.
    #[cfg_attr(not(feature = "dpdk"), expect(dead_code, reason = "for ports that are polled"))]
    fn poll<D: Driver>(
        &self,
        host: &mut Host<D>,
        waiter: &Waiter,
        desk: &mut Desk,
        idle_sleep: Duration,
    ) -> anyhow::Result<Report> {
        let clock = Instant::now();
        let mut idle = Idle::new(self.until_idle);
        let mut empty_turns = 0;
        for turn in 0_u64.. {
            let any = host.turn(time(clock));
            empty_turns = if any { 0 } else { empty_turns + 1 };
            let tired = empty_turns > EMPTY_TURNS && !idle_sleep.is_zero();
            if !tired && !turn.is_multiple_of(SIGNAL_TURNS) {
                continue;
            }
            let at_most = if tired { idle_sleep } else { Duration::ZERO };
            let wake = waiter.wait(&[], Some(at_most)).context("cannot wait for signals")?;
            if self.heeds(wake, host, desk, time(clock)) || idle.is_over(any) {
                break;
            }
        }
        if self.settings.clock.packets().is_some() {
            host.run_out();
        }
        Ok(Report::of(host, time(clock)))
    }

    /// Whether it is asked to stop, and does.
    fn heeds<D: Driver>(
        &self,
        wake: Wake,
        host: &mut Host<D>,
        desk: &mut Desk,
        now: Nanos,
    ) -> bool {
        let onward = match wake {
            Wake::Work => Onward::Continue,
            Wake::Reload => {
                reload(host, self.settings, self.path);
                Onward::Continue
            }
            Wake::Stop(signal) => desk.on_signal(host, now, signal),
        };
        onward == Onward::Stop || desk.attend(host, now) == Onward::Stop
    }
}

/// Turns without any frame after which a polling loop may sleep.
const EMPTY_TURNS: u32 = 1_000;
/// Turns of a polling loop between two looks at signals.
const SIGNAL_TURNS: u64 = 1_024;

/// Nanoseconds since the start; a u64 of them lasts 584 years.
fn time(clock: Instant) -> Nanos {
    Nanos(u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Watches whether nothing comes in any more.
struct Idle {
    most: Option<Duration>,
    since: Instant,
}

impl Idle {
    fn new(most: Option<Duration>) -> Idle {
        Idle { most, since: Instant::now() }
    }

    fn is_over(&mut self, any: bool) -> bool {
        if any {
            self.since = Instant::now();
        }
        self.most.is_some_and(|most| self.since.elapsed() >= most)
    }
}
