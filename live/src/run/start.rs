//! What a worker begins with.

use std::time::Duration;

use anyhow::Context;
use nix::sched::{CpuSet, sched_getaffinity};
use qpmux_engine::Engine;
use qpmux_engine::journal::Journal;
use tracing::{info, warn};

use super::THIS_THREAD;
use super::idle::Idle;
use crate::announcement::Address;
use crate::config::Settings;
use crate::control::crew::{Crew, translated};
use crate::control::mail::{Bell, Mailbox, post};
use crate::journal::{Recovered, Stamp, Writer, recover};
use crate::standby::{fence_if_off, new_log};

/// What a worker's thread begins with, apart from its driver.
pub(super) struct Start {
    pub(super) engine: Engine,
    pub(super) journal: Option<Writer>,
    pub(super) mailbox: Mailbox,
    pub(super) bell: Bell,
    /// Where its thread stays; `None`: where it was started.
    pub(super) processors: Option<CpuSet>,
    pub(super) idle: Idle,
    /// Where frames come from that came to another host before.
    pub(super) addresses: Vec<Address>,
}

/// What a worker goes on from, and where its records go: nothing if there is no journal.
pub(super) type Begun = Option<(Journal, Writer)>;

/// What workers go on from on a host that is alone.
pub(super) fn begin_alone(settings: &Settings) -> anyhow::Result<Vec<Begun>> {
    let config = settings.engine_config();
    let mut begun = Vec::new();
    let mut log = None;
    for worker in 0..settings.cores().len() {
        let Some(place) = settings.journal_place(worker) else {
            begun.push(None);
            continue;
        };
        let folder = place.folder.display().to_string();
        let named = || format!("journal.folder: {folder}");
        let mut found =
            recover(&place, &config).with_context(named)?.unwrap_or(Recovered::nothing(&config));
        // All workers' files are one log's.
        let new = log.map_or_else(new_log, Ok).with_context(named)?;
        log = Some(found.stamp.map_or(new, |stamp| Stamp { boot: new.boot, ..stamp }));
        if found.torn > 0 {
            warn!("{folder}: {} bytes were cut off at the end, and are not needed", found.torn);
        }
        fence_if_off(&mut found, new).with_context(named)?;
        let stamp = log.unwrap_or(new);
        let writer = Writer::begin(place, &config, stamp, Some(&found)).with_context(named)?;
        begun.push(Some((found.journal, writer)));
    }
    Ok(begun)
}

/// What all workers begin with, and how they are written to.
pub(super) fn starts(
    settings: &Settings,
    idle: &Idle,
    begun: Vec<Begun>,
) -> anyhow::Result<(Vec<Start>, Crew)> {
    let cores = settings.cores();
    let alone = cores.len() == 1;
    // DPDK puts whoever starts it on one processor: good for one worker, not for several.
    let all = sched_getaffinity(THIS_THREAD).context("sched_getaffinity")?;
    let mut posts = Vec::new();
    let mut starts = Vec::new();
    for (core, begun) in cores.into_iter().zip(begun) {
        let processors = match core {
            Some(core) => Some(one_processor(core)?),
            None => (!alone).then_some(all),
        };
        let bell = Bell::new().context("cannot make a bell")?;
        let (post, mailbox) = post(bell.clone());
        posts.push(post);
        let (journal, writer) = begun.unzip();
        let engine = settings.engine_after(journal.as_ref())?;
        if let Some(writer) = &writer {
            let found = writer.written();
            let took = Duration::from_nanos(found.recovery_ns);
            let words = translated(engine.translated());
            info!("journal: {} records in {took:?}: {words}", found.recovered_records);
        }
        let idle = idle.clone();
        starts.push(Start {
            engine,
            journal: writer,
            mailbox,
            bell,
            processors,
            idle,
            addresses: Vec::new(),
        });
    }
    Ok((starts, Crew::new(posts, settings.control.stop)))
}

fn one_processor(core: usize) -> anyhow::Result<CpuSet> {
    let mut set = CpuSet::new();
    set.set(core)
        .with_context(|| format!("worker.core is {core}, must be a processor's number"))?;
    Ok(set)
}
