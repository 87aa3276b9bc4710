//! What a run of the simulator can be told, on a command line or in a file, and the run that it is.

mod calls;
pub(crate) mod file;
pub(crate) mod policy;
mod receive;
mod recovery;
mod store;
mod verbs;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use qpmux_engine::Config;
use qpmux_engine::policy::Profile;
use qpmux_workloads::keys::{KeyDistribution, Ycsb};
use qpmux_workloads::load_profile;

use clap::{ArgMatches, Command};

use self::file::Given;
use self::policy::{PolicyArgs, SwitchArg, parse_fraction};
use self::receive::ReceiveArgs;
use self::recovery::RecoveryArgs;
use self::store::StoreArgs;
use self::verbs::{Common, VerbsArgs, settings};
use crate::apps::{
    Adversity, App, CloverPlan, EngineSetup, Load, LockPlan, Middlebox, Plan, Release,
    engine_config,
};
use crate::cluster::BoxParams;
use crate::job::{Capture, Job};
use crate::store::StorePlan;
use crate::verbs::{Middlebox as CostlyMiddlebox, RawOp};

/// Operations of a run of Clover or locks, unless more or fewer are asked for.
const OPS: u64 = 10_000;

/// Reads a capture.
pub(crate) type ReadCapture<'a> = dyn FnMut(&Path) -> anyhow::Result<Arc<Capture>> + 'a;

/// All that a run depends on, but for its seed.
#[derive(clap::Args)]
pub(crate) struct RunOptions {
    /// The application.
    #[arg(long, value_enum, default_value_t = AppArg::Clover)]
    app: AppArg,
    /// Operations of Clover: A (half updates), B (5 % updates), C (reads) or W (updates), and on
    /// adapters that cost something also D, E and F as YCSB has them. Or a raw verb, through
    /// adapters that cost something: read, write, cas, faa, lock, which takes a lock by
    /// compare-and-swap and gives it back by a WRITE, or lookup, of a key in a hash table. Or
    /// receive: packets on their way through a host. Or recovery: a middlebox that keeps its state,
    /// and fails.
    #[arg(
        long,
        default_value = "A",
        value_name = "A..F|W|read|write|cas|faa|lock|lookup|receive|recovery"
    )]
    workload: Workload,
    /// Client threads, on all machines together.
    #[arg(long, default_value_t = 8, value_name = "N")]
    threads: u16,
    /// Client machines; the threads of one share what they know of keys.
    #[arg(long, default_value_t = 1, value_name = "N")]
    machines: u16,
    /// Keys, or locks.
    #[arg(long, default_value_t = 1_024, value_name = "N")]
    keys: u64,
    /// Zipf exponent of their popularity, 0 or more; 0.99 unless it is a raw verb, whose keys are
    /// equally popular.
    #[arg(long, value_name = "S", conflicts_with = "uniform", allow_negative_numbers = true)]
    zipf: Option<f64>,
    /// All keys are equally popular.
    #[arg(long)]
    uniform: bool,
    /// Operations of all threads together; by default 10,000, of raw verbs 12,000 or eight for each
    /// that is outstanding, whichever is more.
    #[arg(long, value_name = "N")]
    ops: Option<u64>,
    /// Bytes of a value, 16 to 1,016; with its 8-byte header it takes a slot of 128, 256, 512 or
    /// 1,024 bytes.
    #[arg(long, default_value_t = 1_000, value_name = "BYTES")]
    value_len: u16,
    /// Slots there are for values; few are used again and again.
    #[arg(long, value_name = "N")]
    slots: Option<u32>,
    /// Time that a lock is held, in nanoseconds.
    #[arg(long, default_value_t = 1_000, value_name = "NS")]
    hold_ns: u64,
    /// How a lock is given back.
    #[arg(long, value_enum, default_value_t = ReleaseArg::Write)]
    release: ReleaseArg,
    /// Each holder counts its acquisition in a word that the lock guards: the WRITE of the count
    /// and the release are posted together.
    #[arg(long)]
    guarded: bool,
    /// Switch the engine to another policy in mid-run, when so many operations are done: of map
    /// (writes, all), steer and atomics those that are named. May be given several times; the
    /// report then tells the phases apart.
    #[arg(long, value_name = "OPS:steer=all,...")]
    switch: Vec<SwitchArg>,
    /// What stands between clients and memory node: none, or engine, which costs nothing (the
    /// default for applications), or for Clover and raw verbs one that costs something: qpmux,
    /// prototype, switch, smartnic-on-path or smartnic-off-path.
    #[arg(long, value_name = "none|engine|PRESET")]
    middlebox: Option<String>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Which requests carry a key: a built-in profile or a TOML file. By default the application's.
    #[arg(long, value_name = "NAME|FILE")]
    profile: Option<String>,
    /// Lists of versions that the engine remembers, for steering; 16,384 unless it is told.
    #[arg(long, value_name = "N")]
    lists: Option<u32>,
    /// What else passes the middlebox.
    #[arg(long, value_enum)]
    through: Option<ThroughArg>,
    /// Number of engines that share the connections.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    shards: u8,
    /// Probability from 0 to 0.5 that a packet is lost, on each leg of its way: of the four there
    /// and back through a middlebox, or of the two without one.
    #[arg(long, default_value_t = 0.0, value_name = "FRACTION", value_parser = parse_fraction)]
    loss: f64,
    /// Timeout of adapters, as a code: 4.096 us * 2^N; 14 is 67 ms.
    #[arg(long, default_value_t = 14, value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=31))]
    timeout: u8,
    /// Retries before an adapter gives a queue pair up.
    #[arg(long, default_value_t = 7, value_name = "N")]
    retries: u32,
    /// Threads whose packets go past the middlebox.
    #[arg(long, default_value_t = 0, value_name = "N")]
    around: u16,
    /// The memory node changes something by itself, so often on average, in nanoseconds.
    #[arg(long, value_name = "NS")]
    meddling_ns: Option<u64>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    verbs: VerbsArgs,
    #[command(flatten)]
    receive: ReceiveArgs,
    #[command(flatten)]
    recovery: RecoveryArgs,
}

/// What is run.
#[derive(Clone, Copy)]
enum Workload {
    Ycsb(Ycsb),
    Raw(RawOp),
    Receive,
    Recovery,
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "read" => Self::Raw(RawOp::Read),
            "write" => Self::Raw(RawOp::Write),
            "cas" => Self::Raw(RawOp::Cas),
            "faa" => Self::Raw(RawOp::Faa),
            "lock" => Self::Raw(RawOp::Lock),
            "lookup" => Self::Raw(RawOp::Lookup),
            "receive" => Self::Receive,
            "recovery" => Self::Recovery,
            ycsb => Self::Ycsb(ycsb.parse().map_err(|_| {
                "there are A to F and W, the raw verbs read, write, cas, faa, lock and lookup, \
                 receive and recovery"
                    .to_owned()
            })?),
        })
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum AppArg {
    /// Clover, a key-value store on passive disaggregated memory.
    Clover,
    /// Locks that are taken by COMPARE_SWAP.
    Lock,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ReleaseArg {
    /// By a WRITE of 0.
    Write,
    /// By a COMPARE_SWAP from its owner to 0.
    CompareSwap,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ThroughArg {
    /// What clients and metadata server say to each other.
    Metadata,
}

impl RunOptions {
    fn common(&self) -> anyhow::Result<Common> {
        Ok(Common {
            middlebox: self.costly_middlebox()?,
            threads: usize::from(self.threads),
            machines: usize::from(self.machines),
            keys: self.keys,
            distribution: self.distribution(None),
            loss: self.loss,
            timeout: self.timeout,
            retries: self.retries,
        })
    }

    fn costly_middlebox(&self) -> anyhow::Result<Option<CostlyMiddlebox>> {
        let name = match self.middlebox.as_deref() {
            None | Some("none") => return Ok(None),
            Some(name) => name,
        };
        let by_default = match (&self.verbs.trace, self.workload) {
            (Some(_), _) => "kv",
            (None, Workload::Ycsb(_)) => "clover",
            (None, _) => "lock-table",
        };
        let profile = load_profile(self.profile.as_deref().unwrap_or(by_default))?;
        let mut costs = BoxParams::load(name)?;
        if name == "prototype" {
            self.store.era()?.set_prototype(&mut costs);
        }
        self.verbs.set_middlebox(&mut costs)?;
        Ok(Some(CostlyMiddlebox { costs, engine: self.setup(profile) }))
    }

    /// Whether Clover runs on adapters that cost something.
    fn costs_something(&self) -> bool {
        self.store.is_wanted(self.middlebox.as_deref())
    }

    /// The run that this is. `captures` reads a capture.
    ///
    /// # Errors
    /// When there is no such run.
    pub(crate) fn job(&self, captures: &mut ReadCapture<'_>) -> anyhow::Result<Job> {
        if let Some(capture) = &self.verbs.trace {
            let plan = self.verbs.trace_plan(&self.common()?)?;
            return Ok(Job::Trace(captures(capture)?, Box::new(plan)));
        }
        match self.workload {
            Workload::Raw(op) => {
                Ok(Job::Verbs(Box::new(self.verbs.plan(op, self.ops, &self.common()?)?)))
            }
            Workload::Receive => {
                let plan = self.receive.plan(self.ops, self.distribution(None))?;
                Ok(Job::Receive(Box::new(plan)))
            }
            Workload::Recovery => {
                let plan = self.recovery.plan(self.ops, self.receive.offered_per_s())?;
                Ok(Job::Recovery(Box::new(plan)))
            }
            Workload::Ycsb(workload) if self.costs_something() => self.store_job(workload),
            Workload::Ycsb(workload) => Ok(Job::App(Box::new(self.plan(workload)?))),
        }
    }

    /// Clover on adapters that cost something.
    fn store_job(&self, workload: Ycsb) -> anyhow::Result<Job> {
        anyhow::ensure!(
            matches!(self.app, AppArg::Clover),
            "--app lock: locks on adapters that cost something are --workload lock"
        );
        let distribution = self.distribution(Some(0.99));
        let common = Common { distribution, ..self.common()? };
        let plan = StorePlan {
            ops: self.ops.unwrap_or(OPS),
            ..self.store.plan(workload, self.value_len, &common, &self.verbs)?
        };
        Ok(Job::Store(Box::new(plan)))
    }

    /// Operations of all threads together, where they are counted.
    fn ops(&self) -> u64 {
        match self.workload {
            Workload::Raw(_) => self.verbs.ops(self.ops, usize::from(self.threads)),
            Workload::Receive => ReceiveArgs::ops(self.ops),
            Workload::Recovery => RecoveryArgs::ops(self.ops),
            Workload::Ycsb(_) => self.ops.unwrap_or(OPS),
        }
    }

    /// All options that hold, as a file, for a command that takes them.
    ///
    /// # Errors
    /// When there is no such run.
    pub(crate) fn config(&self, command: &Command, matches: &ArgMatches) -> anyhow::Result<String> {
        let mut resolved = match (&self.verbs.trace, self.workload) {
            (None, Workload::Ycsb(workload)) if !self.costs_something() => {
                self.plan(workload)?;
                Vec::new()
            }
            (None, Workload::Receive) => self.receive.numbers()?,
            (None, Workload::Recovery) => self.recovery.numbers()?,
            _ => self.numbers()?,
        };
        resolved.push(("ops".to_owned(), vec![self.ops().to_string()]));
        Ok(file::render(command, matches, &resolved))
    }

    /// Each number of what costs something.
    fn numbers(&self) -> anyhow::Result<Vec<Given>> {
        let common = self.common()?;
        let mut all = self.verbs.numbers(&common)?;
        if let Some(middlebox) = &common.middlebox {
            let settings = settings(BoxParams::SPECS, |name| middlebox.costs.get(name));
            all.push(("set-middlebox".to_owned(), settings));
        }
        Ok(all)
    }

    fn setup(&self, profile: Profile) -> EngineSetup {
        let (policy, switches) = self.policy.switched(profile, &self.switch);
        let usual = engine_config(self.timeout);
        EngineSetup {
            policy,
            config: Config {
                records: self.store.records,
                lists_max: self.lists.unwrap_or(usual.lists_max),
                connections_max: self.verbs.queue_pairs(self.threads).max(usual.connections_max),
                ..usual
            },
            shards: self.shards,
            big_endian: false,
            withheld: false,
            switches,
        }
    }

    fn plan(&self, workload: Ycsb) -> anyhow::Result<Plan> {
        let app = match self.app {
            AppArg::Clover => App::Clover(self.clover(workload)),
            AppArg::Lock => App::Lock(self.lock()),
        };
        let profile = load_profile(self.profile.as_deref().unwrap_or(app.profile()))?;
        let setup = self.setup(profile);
        Ok(Plan {
            app,
            load: Load {
                threads: self.threads,
                machines: self.machines,
                keys: self.keys,
                distribution: self.distribution(Some(0.99)),
                operations: self.ops.unwrap_or(OPS),
            },
            seed: 0,
            middlebox: match self.middlebox.as_deref() {
                Some("none") => Middlebox::None,
                None | Some("engine") => Middlebox::Engine(Box::new(setup)),
                Some(other) => anyhow::bail!(
                    "--middlebox {other}: locks run on adapters that cost nothing, with none or \
                     engine; --workload lock has them on adapters that cost something"
                ),
            },
            loss: self.loss,
            timeout: self.timeout,
            retries: self.retries,
            around: self.around,
            meddling_ns: self.meddling_ns,
            adversity: Adversity::default(),
        })
    }

    fn distribution(&self, by_default: Option<f64>) -> KeyDistribution {
        match self.zipf.or(by_default).filter(|_| !self.uniform) {
            Some(theta) => KeyDistribution::Zipf { theta },
            None => KeyDistribution::Uniform,
        }
    }

    fn clover(&self, workload: Ycsb) -> CloverPlan {
        CloverPlan {
            workload,
            value_len: self.value_len,
            slots_max: self.slots,
            through_metadata: self.through.is_some(),
        }
    }

    fn lock(&self) -> LockPlan {
        LockPlan {
            release: match self.release {
                ReleaseArg::Write => Release::Write,
                ReleaseArg::CompareSwap => Release::CompareSwap,
            },
            hold_ns: self.hold_ns,
            guarded: self.guarded,
        }
    }
}
