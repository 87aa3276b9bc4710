//! The threads beside the workers, as the configuration wants them.

use anyhow::Context;
use tracing::{info, warn};

use crate::config::Settings;
use crate::control::crew::Crew;
use crate::control::server::{ControlServer, Limits};
use crate::control::socket::ControlSocket;
use crate::metrics::MetricsServer;

/// Control socket and metrics. They end with this, and the socket goes from the file system.
pub struct Operations {
    _control: Option<ControlServer>,
    _metrics: Option<MetricsServer>,
}

impl Operations {
    /// Starts them. They write to the crew.
    ///
    /// # Errors
    /// If the control socket or the named address of the metrics cannot be listened at.
    pub fn start(settings: &Settings, crew: &Crew) -> anyhow::Result<Operations> {
        let metrics = metrics(settings, crew)?;
        Ok(Operations { _control: control(settings, crew)?, _metrics: metrics })
    }
}

fn control(settings: &Settings, crew: &Crew) -> anyhow::Result<Option<ControlServer>> {
    let Some(path) = &settings.control.socket else { return Ok(None) };
    let named = || format!("control.socket: {}", path.display());
    let socket = ControlSocket::bind(path).with_context(named)?;
    let server =
        ControlServer::start(socket, crew.clone(), Limits::default()).with_context(named)?;
    info!("control socket {}", path.display());
    Ok(Some(server))
}

fn metrics(settings: &Settings, crew: &Crew) -> anyhow::Result<Option<MetricsServer>> {
    let Some(listen) = settings.metrics.listen() else { return Ok(None) };
    match MetricsServer::start(listen, crew.clone()) {
        Ok(server) => {
            info!("metrics at http://{listen}/metrics");
            Ok(Some(server))
        }
        Err(error) if settings.metrics.is_named() => {
            Err(error).with_context(|| format!("metrics.listen: {listen}"))
        }
        // Nobody has asked for it here: frames matter more.
        Err(error) => {
            warn!("no metrics: {listen}: {error}; [metrics] listen can name another address");
            Ok(None)
        }
    }
}
