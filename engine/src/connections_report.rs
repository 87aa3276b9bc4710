//! The connections as their operator sees them. Nothing is allocated: hosts take what they want.

use core::net::IpAddr;

use crate::engine::Engine;
use crate::ids::ClientId;
use crate::mux::client::Service;
use crate::time::Nanos;
use crate::wire::Qpn;

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum ConnectionState {
    /// Its packets pass, and are watched.
    Watched,
    /// Its two ends count differently: without the engine they no longer understand each other.
    Translated,
    /// It was translated, and is silent: an outcome is unknown.
    OutOfService,
    /// It was torn down, or its queue pair numbers belong to another one.
    Ended,
}

impl ConnectionState {
    /// Every state, in the order of declaration.
    pub const ALL: &'static [ConnectionState] = &[
        ConnectionState::Watched,
        ConnectionState::Translated,
        ConnectionState::OutOfService,
        ConnectionState::Ended,
    ];

    /// The name used in reports and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ConnectionState::Watched => "watched",
            ConnectionState::Translated => "translated",
            ConnectionState::OutOfService => "out_of_service",
            ConnectionState::Ended => "ended",
        }
    }
}

/// One connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionReport {
    /// Which; the same from its beginning to its end.
    pub id: ClientId,
    /// Address and queue pair number of its client.
    pub client: (IpAddr, Qpn),
    /// The same of its server.
    pub server: (IpAddr, Qpn),
    /// How far it is.
    pub state: ConnectionState,
    /// Requests that its client waits for.
    pub open: u32,
}

impl Engine {
    /// The connections of this shard, from this number on, in the order of their numbers. The
    /// place of one that has ended may be another's later.
    pub fn connections(&self, from: ClientId) -> impl Iterator<Item = ConnectionReport> {
        let first = from.index();
        let all = self.directory.connections().iter().enumerate().skip(first);
        all.filter(|(_, connection)| connection.shard == self.shard).filter_map(
            |(at, connection)| {
                let id = ClientId(u32::try_from(at).ok()?);
                let client = self.clients.get(id)?;
                let state = match client.service {
                    _ if self.watches.has_ended(id) => ConnectionState::Ended,
                    Service::Watching => ConnectionState::Watched,
                    Service::Active | Service::Resuming => ConnectionState::Translated,
                    Service::Stopped => ConnectionState::OutOfService,
                };
                let (of_client, of_server) = (&connection.client, &connection.server);
                Some(ConnectionReport {
                    id,
                    client: (of_client.ip, of_client.qpn),
                    server: (of_server.ip, of_server.qpn),
                    state,
                    open: client.open,
                })
            },
        )
    }

    /// Connections that would break if the engine was gone now.
    #[must_use]
    pub fn translated(&self) -> usize {
        let translated = |each: &ConnectionReport| each.state == ConnectionState::Translated;
        self.connections(ClientId(0)).filter(translated).count()
    }

    /// From now on no connection goes over into translation (`hold`), or connections do so again.
    /// One whose requests are held for it already goes over yet.
    pub fn hold_flips(&mut self, now: Nanos, hold: bool) {
        if hold == self.holds_flips() {
            return;
        }
        // An engine that goes on from a log waits as long for what is late.
        let again = now.after(self.config.packet_lifetime_ns);
        self.flips_from = if hold { Nanos::NEVER } else { again };
    }

    /// Whether connections are kept from going over into translation.
    #[must_use]
    pub fn holds_flips(&self) -> bool {
        self.flips_from == Nanos::NEVER
    }
}
