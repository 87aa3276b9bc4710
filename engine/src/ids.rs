//! Index newtypes: which connection half, which shard.

/// The client half of a connection. Connection `i` has the same index on every shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ClientId(pub u32);

/// The server half of a connection: the server's queue pair that its client set up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ServerQpId(pub u32);

impl ClientId {
    /// The server queue pair that this client itself set up.
    #[must_use]
    pub const fn own_server_qp(self) -> ServerQpId {
        ServerQpId(self.0)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl ServerQpId {
    /// The client that set this server queue pair up: its owner.
    #[must_use]
    pub const fn owner(self) -> ClientId {
        ClientId(self.0)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One engine of the several that share the connections of a middlebox.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ShardId(pub u8);

/// A server (device and port) together with one of its protection domains: memory keys and
/// queue pairs of one domain go together (IBTA vol. 1, 10.2.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct DomainId(pub u16);
