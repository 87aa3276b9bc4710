//! The thread that answers Prometheus.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tiny_http::{Header, Method, Request, Response, Server};
use tracing::debug;

use crate::control::crew::{Crew, CrewError};
use crate::standby::Stage;

/// The type of what is answered.
const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The running server; it ends with this.
pub struct MetricsServer {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsServer {
    /// Listens, and answers from then on.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn start(listen: SocketAddr, crew: Crew) -> io::Result<MetricsServer> {
        let server = Arc::new(Server::http(listen).map_err(io::Error::other)?);
        let taken = Arc::clone(&server);
        let mut crew = crew;
        let answer = move || {
            for request in taken.incoming_requests() {
                if let Err(error) = answer(request, &mut crew) {
                    debug!("metrics: {error}");
                }
            }
        };
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(answer)?;
        Ok(MetricsServer { server, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.server_addr().to_ip()
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(request: Request, crew: &mut Crew) -> io::Result<()> {
    let path = request.url().split('?').next().unwrap_or_default();
    if *request.method() != Method::Get {
        return request.respond(Response::from_string("only GET\n").with_status_code(405));
    }
    if path != "/metrics" {
        return request.respond(Response::from_string("see /metrics\n").with_status_code(404));
    }
    let seen = crew.status().seen();
    let is_one = seen.stage != Stage::Beginning;
    let of_two = if is_one { super::of_two(&seen) } else { String::new() };
    let counted = match crew.report() {
        // Where nothing is forwarded nothing is counted.
        Err(CrewError::Silent) => Ok(String::new()),
        counted => counted.map(|report| super::text(&report)),
    };
    match counted {
        Ok(counted) => {
            let kind = Header::from_bytes("Content-Type", TYPE);
            let response = Response::from_string(counted + &of_two);
            request.respond(kind.into_iter().fold(response, Response::with_header))
        }
        Err(error) => {
            let text = format!("{error}\n");
            request.respond(Response::from_string(text).with_status_code(503))
        }
    }
}
