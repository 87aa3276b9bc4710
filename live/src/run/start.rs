//! What a worker begins with.

use anyhow::Context;
use nix::sched::{CpuSet, sched_getaffinity};
use qpmux_engine::Engine;
use tracing::{info, warn};

use super::THIS_THREAD;
use super::idle::Idle;
use crate::config::Settings;
use crate::control::crew::{Crew, translated};
use crate::control::mail::{Bell, Mailbox, post};
use crate::journal::{Place, Writer, recover};

/// What a worker's thread begins with, apart from its driver.
pub(super) struct Start {
    pub(super) engine: Engine,
    pub(super) journal: Option<Writer>,
    pub(super) mailbox: Mailbox,
    pub(super) bell: Bell,
    /// Where its thread stays; `None`: where it was started.
    pub(super) processors: Option<CpuSet>,
    pub(super) idle: Idle,
}

/// What all workers begin with, and how they are written to.
pub(super) fn starts(settings: &Settings, idle: &Idle) -> anyhow::Result<(Vec<Start>, Crew)> {
    let cores = settings.cores();
    let alone = cores.len() == 1;
    // DPDK puts whoever starts it on one processor: good for one worker, not for several.
    let all = sched_getaffinity(THIS_THREAD).context("sched_getaffinity")?;
    let mut posts = Vec::new();
    let mut starts = Vec::new();
    for (worker, core) in cores.into_iter().enumerate() {
        let processors = match core {
            Some(core) => Some(one_processor(core)?),
            None => (!alone).then_some(all),
        };
        let bell = Bell::new().context("cannot make a bell")?;
        let (post, mailbox) = post(bell.clone());
        posts.push(post);
        let (engine, journal) = match settings.journal_place(worker) {
            Some(place) => go_on(settings, place)?,
            None => (settings.engine()?, None),
        };
        let idle = idle.clone();
        starts.push(Start { engine, journal, mailbox, bell, processors, idle });
    }
    Ok((starts, Crew::new(posts, settings.control.stop)))
}

/// An engine that goes on where its journal says that another one was, or begins.
fn go_on(settings: &Settings, place: Place) -> anyhow::Result<(Engine, Option<Writer>)> {
    let config = settings.engine_config();
    let folder = place.folder.display().to_string();
    let named = || format!("journal.folder: {folder}");
    let found = recover(&place, &config).with_context(named)?;
    let engine = settings.engine_after(found.as_ref().map(|found| &found.journal))?;
    if let Some(found) = &found {
        let words = translated(engine.translated());
        info!("{folder}: {} records in {:?}: {words}", found.records, found.took);
        if found.torn > 0 {
            warn!("{folder}: {} bytes were cut off at the end, and are not needed", found.torn);
        }
    }
    let writer = Writer::begin(place, &config, found.as_ref()).with_context(named)?;
    Ok((engine, Some(writer)))
}

fn one_processor(core: usize) -> anyhow::Result<CpuSet> {
    let mut set = CpuSet::new();
    set.set(core)
        .with_context(|| format!("worker.core is {core}, must be a processor's number"))?;
    Ok(set)
}
