//! What an engine cannot be built of.

use core::fmt;

use crate::config::{Config, ConfigError};
use crate::policy::{Directory, DirectoryError, Policy, PolicyError};

/// Why an engine cannot be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// A limit or a time is out of its range.
    Config(ConfigError),
    /// The policy contradicts itself.
    Policy(PolicyError),
    /// The connections contradict each other.
    Directory(DirectoryError),
    /// An engine that learns from observation has all connections to itself.
    LearningShards,
    /// What is known of servers' memory is known on one shard.
    KeysShards,
    /// No record says yet what a request was steered to, or what took an atomic's place.
    KeysRecords,
    /// The journal has connections that the directory has not, or there is no room for them.
    ResumeDirectory,
    /// More is open than the configuration allows.
    ResumeLimits,
    /// A connection is given to a shard that does not exist.
    Shard {
        /// The shard.
        found: u8,
        /// How many there are.
        shards: u8,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Config(error) => write!(f, "configuration: {error}"),
            BuildError::Policy(error) => write!(f, "policy: {error}"),
            BuildError::Directory(error) => error.fmt(f),
            BuildError::KeysRecords => {
                f.write_str("where requests are steered or atomics replaced, no log can be kept")
            }
            BuildError::KeysShards => f.write_str(
                "READs are mapped, requests steered and atomics replaced on one shard only",
            ),
            BuildError::LearningShards => {
                f.write_str("trust by observation works on one shard only")
            }
            BuildError::ResumeDirectory => f.write_str(
                "the journal has connections that the directory has not, or has no room for",
            ),
            BuildError::ResumeLimits => f.write_str("more is open than the limits allow"),
            BuildError::Shard { found, shards } => {
                write!(f, "a connection belongs to shard {found}, but there are {shards}")
            }
        }
    }
}

impl core::error::Error for BuildError {}

/// Whether an engine can be built so.
pub(crate) fn check(
    config: &Config,
    policy: &Policy,
    directory: &Directory,
    shards: u8,
) -> Result<(), BuildError> {
    config.check().map_err(BuildError::Config)?;
    policy.check().map_err(BuildError::Policy)?;
    if policy.trust.learns() && shards > 1 {
        return Err(BuildError::LearningShards);
    }
    if policy.knows_memory() && shards > 1 {
        return Err(BuildError::KeysShards);
    }
    if config.records && policy.changes_requests() {
        return Err(BuildError::KeysRecords);
    }
    let mut connections = directory.connections().iter();
    if let Some(stray) = connections.find(|c| c.shard.0 >= shards.max(1)) {
        return Err(BuildError::Shard { found: stray.shard.0, shards });
    }
    Ok(())
}
