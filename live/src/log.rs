//! The log on standard error.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging, at the level that `QPMUX_LOG` names (`info` if it is not set, or is nonsense).
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("QPMUX_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
