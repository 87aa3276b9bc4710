//! The threads beside the packet loop, as the configuration wants them.

use anyhow::Context;
use tracing::{info, warn};

use crate::config::Settings;
use crate::control::desk::Desk;
use crate::control::mail::{Bell, Post, post};
use crate::control::server::{ControlServer, Limits};
use crate::control::socket::ControlSocket;
use crate::metrics::MetricsServer;

/// Control socket and metrics. They end with this, and the socket goes from the file system.
pub struct Operations {
    _control: Option<ControlServer>,
    _metrics: Option<MetricsServer>,
}

impl Operations {
    /// Starts them, and gives the desk where the loop is to read their letters; `bell` is to wake
    /// it.
    ///
    /// # Errors
    /// If the control socket or the named address of the metrics cannot be listened at.
    pub fn start(settings: &Settings, bell: Bell) -> anyhow::Result<(Operations, Desk)> {
        let (post, mailbox) = post(bell);
        let metrics = metrics(settings, &post)?;
        let control = control(settings, post)?;
        let mail = (metrics.is_some() || control.is_some()).then_some(mailbox);
        let desk = Desk::new(mail, settings.control.stop);
        Ok((Operations { _control: control, _metrics: metrics }, desk))
    }
}

fn control(settings: &Settings, post: Post) -> anyhow::Result<Option<ControlServer>> {
    let Some(path) = &settings.control.socket else { return Ok(None) };
    let named = || format!("control.socket: {}", path.display());
    let socket = ControlSocket::bind(path).with_context(named)?;
    let server = ControlServer::start(socket, post, Limits::default()).with_context(named)?;
    info!("control socket {}", path.display());
    Ok(Some(server))
}

fn metrics(settings: &Settings, post: &Post) -> anyhow::Result<Option<MetricsServer>> {
    let Some(listen) = settings.metrics.listen() else { return Ok(None) };
    match MetricsServer::start(listen, post.clone()) {
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
