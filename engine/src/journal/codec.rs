//! Records as bytes.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::record::{
    Binding, ClientPoint, Extent, Operands, OwnRead, PastRead, Record, ServerPoint, Steer,
};
use crate::connections::CmFacts;
use crate::ids::{ClientId, DomainId, ServerQpId, ShardId};
use crate::policy::{Connection, Endpoint, PathFacts, Start};
use crate::wire::{ClientPsn, Msn, Opcode, Psn, Qpn, ServerPsn};

/// The version of every kind's form.
const VERSION: u8 = 1;

/// Bytes of what the connection manager said.
const CM_FACTS_LEN: usize = 25;

/// Why bytes are no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordError {
    /// Byte of the record at which the field begins.
    pub offset: usize,
    /// The record's first byte, 0 if there is none.
    pub kind: u8,
    /// The field that is not there, or cannot have its value.
    pub field: &'static str,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecordError { offset, kind, field } = self;
        write!(f, "record of kind {kind}: wrong or missing {field} at byte {offset}")
    }
}

impl core::error::Error for RecordError {}

impl Record {
    const fn kind(&self) -> u8 {
        match self {
            Record::Start { .. } => 1,
            Record::Binding(_) => 2,
            Record::Value { .. } => 3,
            Record::Fill { .. } => 4,
            Record::Stopped { .. } => 5,
            Record::Lost { .. } => 6,
            Record::Gone { .. } => 7,
            Record::Declined { .. } => 8,
            Record::ClientPoint(_) => 9,
            Record::ServerPoint(_) => 10,
            Record::PastRead { .. } => 11,
            Record::Vacant { .. } => 12,
            Record::Ended { .. } => 13,
            Record::Host { .. } => 14,
        }
    }

    /// Bytes that the record takes. All records of one kind take as many.
    #[must_use]
    pub const fn len(&self) -> usize {
        2 + match self {
            Record::Start { .. } => 120,
            Record::Binding(_) => 83,
            Record::Value { .. } => 17,
            Record::Fill { .. } | Record::Host { .. } => 8,
            Record::Stopped { .. } | Record::Gone { .. } | Record::Vacant { .. } => 4,
            Record::Ended { .. } => 5,
            Record::Lost { .. } => 9,
            Record::Declined { .. } => 10,
            Record::ClientPoint(_) => 27,
            Record::ServerPoint(_) => 17,
            Record::PastRead { .. } => 33,
        }
    }

    /// Whether it takes no bytes: never.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes the record to the start of `out`; its length in bytes, or `None` if `out` is too
    /// small.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let len = self.len();
        let mut w = Writer { out: out.get_mut(..len)?, at: 0 };
        w.u8(self.kind())?;
        w.u8(VERSION)?;
        match self {
            Record::Start { client, connection, cm } => {
                w.u32(client.0)?;
                w.connection(connection)?;
                w.cm_facts(cm.as_ref())?;
            }
            Record::Vacant { client } => w.u32(client.0)?,
            Record::Ended { client, late } => {
                w.u32(client.0)?;
                w.u8(u8::from(*late))?;
            }
            Record::Host { place, server_qp } => {
                w.u32(*place)?;
                w.u32(server_qp.0)?;
            }
            Record::Binding(binding) => w.binding(binding)?,
            Record::Value { client, psn, opcode, original } => {
                w.u32(client.0)?;
                w.u32(psn.value())?;
                w.u8(opcode.to_byte())?;
                w.u64(*original)?;
            }
            Record::Fill { server_qp, psn } => {
                w.u32(server_qp.0)?;
                w.u32(psn.value())?;
            }
            Record::Stopped { client } => w.u32(client.0)?,
            Record::Lost { server_qp, done, refusing } => {
                w.u32(server_qp.0)?;
                w.u32(done.value())?;
                w.u8(u8::from(*refusing))?;
            }
            Record::Gone { server_qp } => w.u32(server_qp.0)?,
            Record::Declined { domain, key } => {
                w.u16(domain.0)?;
                w.u64(*key)?;
            }
            Record::ClientPoint(point) => {
                w.u32(point.client.0)?;
                w.u32(point.floor.value())?;
                w.u32(point.msn.value())?;
                w.option(point.last_plain.map(ClientPsn::value))?;
                w.key(point.key)?;
                w.u8(u8::from(point.in_message))?;
            }
            Record::ServerPoint(point) => {
                w.u32(point.server_qp.0)?;
                w.u32(point.next.value())?;
                w.u32(point.floor.value())?;
                w.option(point.in_message.map(|client| client.0))?;
            }
            Record::PastRead { server_qp, past } => {
                w.u32(server_qp.0)?;
                w.past_read(past)?;
            }
        }
        debug_assert_eq!(w.at, len, "{self:?}");
        Some(len)
    }

    /// Reads the record at the start of `bytes`; with it, its length in bytes.
    ///
    /// # Errors
    /// When the bytes end inside the record, or a field has a value that it cannot have.
    pub fn decode(bytes: &[u8]) -> Result<(Record, usize), RecordError> {
        let mut r = Reader { bytes, at: 0, kind: bytes.first().copied().unwrap_or(0) };
        let kind = r.u8("kind")?;
        let version = r.at;
        if r.u8("version")? != VERSION {
            return Err(r.wrong(version, "version"));
        }
        let record = match kind {
            1 => Record::Start {
                client: r.client("client")?,
                connection: r.connection()?,
                cm: r.cm_facts()?,
            },
            2 => Record::Binding(r.binding()?),
            3 => Record::Value {
                client: r.client("client")?,
                psn: r.client_psn("psn")?,
                opcode: r.atomic("opcode")?,
                original: r.u64("original")?,
            },
            4 => Record::Fill { server_qp: r.server("server_qp")?, psn: r.server_psn("psn")? },
            5 => Record::Stopped { client: r.client("client")? },
            6 => Record::Lost {
                server_qp: r.server("server_qp")?,
                done: r.server_psn("done")?,
                refusing: r.bool("refusing")?,
            },
            7 => Record::Gone { server_qp: r.server("server_qp")? },
            8 => Record::Declined { domain: DomainId(r.u16("domain")?), key: r.u64("key")? },
            9 => Record::ClientPoint(r.client_point()?),
            10 => Record::ServerPoint(ServerPoint {
                server_qp: r.server("server_qp")?,
                next: r.server_psn("next")?,
                floor: r.server_psn("floor")?,
                in_message: r.option("in_message")?.map(ClientId),
            }),
            11 => Record::PastRead { server_qp: r.server("server_qp")?, past: r.past_read()? },
            12 => Record::Vacant { client: r.client("client")? },
            13 => Record::Ended { client: r.client("client")?, late: r.bool("late")? },
            14 => Record::Host { place: r.u32("place")?, server_qp: r.server("server_qp")? },
            _ => return Err(r.wrong(0, "kind")),
        };
        Ok((record, r.at))
    }
}

struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at + bytes.len();
        self.out.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    fn u8(&mut self, value: u8) -> Option<()> {
        self.put(&[value])
    }

    fn u16(&mut self, value: u16) -> Option<()> {
        self.put(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> Option<()> {
        self.put(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> Option<()> {
        self.put(&value.to_le_bytes())
    }

    fn option(&mut self, value: Option<u32>) -> Option<()> {
        self.u8(u8::from(value.is_some()))?;
        self.u32(value.unwrap_or(0))
    }

    fn key(&mut self, value: Option<u64>) -> Option<()> {
        self.u8(u8::from(value.is_some()))?;
        self.u64(value.unwrap_or(0))
    }

    fn address(&mut self, ip: IpAddr) -> Option<()> {
        match ip {
            IpAddr::V4(ip) => {
                self.u8(4)?;
                self.put(&ip.octets())?;
                self.put(&[0; 12])
            }
            IpAddr::V6(ip) => {
                self.u8(6)?;
                self.put(&ip.octets())
            }
        }
    }

    fn endpoint(&mut self, end: &Endpoint) -> Option<()> {
        self.put(&end.mac)?;
        self.address(end.ip)?;
        self.u32(end.qpn.value())
    }

    fn path(&mut self, path: &PathFacts) -> Option<()> {
        self.u16(path.source_port)?;
        self.u8(path.traffic_class)?;
        self.u8(path.hop_limit)?;
        self.u8(u8::from(path.migration_request))?;
        self.u16(path.partition_key)?;
        self.u8(u8::from(path.tag.is_some()))?;
        self.u16(path.tag.unwrap_or(0))
    }

    fn connection(&mut self, connection: &Connection) -> Option<()> {
        self.endpoint(&connection.client)?;
        self.endpoint(&connection.server)?;
        self.path(&connection.request)?;
        self.path(&connection.response)?;
        self.u32(connection.start.psn.value())?;
        self.u32(connection.start.msn.value())?;
        self.u8(connection.start.credits)?;
        self.u16(connection.path_mtu)?;
        self.u16(connection.depth)?;
        self.u16(connection.domain.0)?;
        self.u8(connection.shard.0)
    }

    fn cm_facts(&mut self, facts: Option<&CmFacts>) -> Option<()> {
        self.u8(u8::from(facts.is_some()))?;
        let Some(facts) = facts else { return self.put(&[0; CM_FACTS_LEN]) };
        self.u32(facts.client_comm_id)?;
        self.u32(facts.server_comm_id)?;
        self.u32(facts.client_psn.value())?;
        self.u32(facts.server_psn.value())?;
        self.u16(facts.path_mtu)?;
        self.u16(facts.partition_key)?;
        let CmFacts { depth, client_depth, retry_count, rnr_retry_count, .. } = *facts;
        self.put(&[depth, client_depth, retry_count, rnr_retry_count, facts.local_ack_timeout])
    }

    fn extent(&mut self, extent: Option<Extent>) -> Option<()> {
        self.u8(u8::from(extent.is_some()))?;
        let extent = extent.unwrap_or(Extent { remote_key: 0, start: 0, len: 0 });
        self.u32(extent.remote_key)?;
        self.u64(extent.start)?;
        self.u32(extent.len)
    }

    fn past_read(&mut self, past: &PastRead) -> Option<()> {
        self.u32(past.server_psn.value())?;
        self.extent(past.read.map(|read| read.extent))?;
        self.u32(past.read.map_or(0, |read| read.psn.value()))?;
        self.u32(past.read.map_or(1, |read| read.packets))
    }

    fn binding(&mut self, binding: &Binding) -> Option<()> {
        self.u32(binding.client.0)?;
        self.u32(binding.psn.value())?;
        self.u32(binding.msn.value())?;
        self.u32(binding.packets)?;
        self.u8(binding.opcode.to_byte())?;
        self.u16(binding.payload_len)?;
        self.u8(u8::from(binding.exclusive))?;
        let (steer, place) = match binding.steer {
            Steer::Own => (0, 0),
            Steer::Place(place) => (1, place),
            Steer::Alone(place) => (2, place),
        };
        self.u8(steer)?;
        self.u32(place)?;
        self.extent(binding.extent)?;
        self.u64(binding.operands.swap_or_add)?;
        self.u64(binding.operands.compare)?;
        self.key(binding.key)?;
        self.u32(binding.server_qp.0)?;
        self.u32(binding.server_psn.value())?;
        self.u32(binding.server_floor.value())?;
        self.u32(binding.floor.value())
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    kind: u8,
}

impl Reader<'_> {
    fn wrong(&self, offset: usize, field: &'static str) -> RecordError {
        RecordError { offset, kind: self.kind, field }
    }

    fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RecordError> {
        let found = self.bytes.get(self.at..self.at + N).and_then(|bytes| bytes.try_into().ok());
        let bytes = found.ok_or_else(|| self.wrong(self.at, field))?;
        self.at += N;
        Ok(bytes)
    }

    /// The value, if it fits; the error names where the last `len` bytes began.
    fn checked<T>(
        &self,
        len: usize,
        field: &'static str,
        value: Option<T>,
    ) -> Result<T, RecordError> {
        value.ok_or_else(|| self.wrong(self.at - len, field))
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, RecordError> {
        self.take::<1>(field).map(|[byte]| byte)
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, RecordError> {
        self.take(field).map(u16::from_le_bytes)
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, RecordError> {
        self.take(field).map(u32::from_le_bytes)
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, RecordError> {
        self.take(field).map(u64::from_le_bytes)
    }

    fn bool(&mut self, field: &'static str) -> Result<bool, RecordError> {
        let byte = self.u8(field)?;
        self.checked(1, field, (byte <= 1).then_some(byte == 1))
    }

    fn option(&mut self, field: &'static str) -> Result<Option<u32>, RecordError> {
        let is_some = self.bool(field)?;
        let value = self.u32(field)?;
        Ok(is_some.then_some(value))
    }

    fn key(&mut self, field: &'static str) -> Result<Option<u64>, RecordError> {
        let is_some = self.bool(field)?;
        let value = self.u64(field)?;
        Ok(is_some.then_some(value))
    }

    /// A number of 24 bits, just read.
    fn serial(&self, value: u32, field: &'static str) -> Result<u32, RecordError> {
        self.checked(4, field, (value < ClientPsn::MODULUS).then_some(value))
    }

    fn u24(&mut self, field: &'static str) -> Result<u32, RecordError> {
        let value = self.u32(field)?;
        self.serial(value, field)
    }

    fn client(&mut self, field: &'static str) -> Result<ClientId, RecordError> {
        self.u32(field).map(ClientId)
    }

    fn server(&mut self, field: &'static str) -> Result<ServerQpId, RecordError> {
        self.u32(field).map(ServerQpId)
    }

    fn client_psn(&mut self, field: &'static str) -> Result<ClientPsn, RecordError> {
        self.u24(field).map(ClientPsn::new)
    }

    fn server_psn(&mut self, field: &'static str) -> Result<ServerPsn, RecordError> {
        self.u24(field).map(ServerPsn::new)
    }

    fn msn(&mut self, field: &'static str) -> Result<Msn, RecordError> {
        self.u24(field).map(Msn::new)
    }

    fn opcode(&mut self, field: &'static str) -> Result<Opcode, RecordError> {
        let byte = self.u8(field)?;
        self.checked(1, field, Opcode::from_byte(byte).filter(|opcode| opcode.is_request()))
    }

    fn atomic(&mut self, field: &'static str) -> Result<Opcode, RecordError> {
        let opcode = self.opcode(field)?;
        self.checked(1, field, Some(opcode).filter(|opcode| opcode.is_atomic()))
    }

    fn client_point(&mut self) -> Result<ClientPoint, RecordError> {
        let client = self.client("client")?;
        let floor = self.client_psn("floor")?;
        let msn = self.msn("msn")?;
        let plain = self.option("last_plain")?;
        let plain = plain.map(|psn| self.serial(psn, "last_plain")).transpose()?;
        let key = self.key("key")?;
        let in_message = self.bool("in_message")?;
        let last_plain = plain.map(ClientPsn::new);
        Ok(ClientPoint { client, floor, msn, last_plain, key, in_message })
    }

    fn address(&mut self, field: &'static str) -> Result<IpAddr, RecordError> {
        let version = self.u8(field)?;
        let bytes = self.take::<16>(field)?;
        let [a, b, c, d, ..] = bytes;
        let ip = match version {
            4 => Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            6 => Some(IpAddr::V6(Ipv6Addr::from(bytes))),
            _ => None,
        };
        self.checked(17, field, ip)
    }

    fn endpoint(&mut self) -> Result<Endpoint, RecordError> {
        let (mac, ip) = (self.take("mac")?, self.address("ip")?);
        Ok(Endpoint { mac, ip, qpn: Qpn::new(self.u24("qpn")?) })
    }

    fn path(&mut self) -> Result<PathFacts, RecordError> {
        Ok(PathFacts {
            source_port: self.u16("source_port")?,
            traffic_class: self.u8("traffic_class")?,
            hop_limit: self.u8("hop_limit")?,
            migration_request: self.bool("migration_request")?,
            partition_key: self.u16("partition_key")?,
            tag: {
                let is_some = self.bool("tag")?;
                let tag = self.u16("tag")?;
                is_some.then_some(tag)
            },
        })
    }

    fn connection(&mut self) -> Result<Connection, RecordError> {
        let (client, server) = (self.endpoint()?, self.endpoint()?);
        let (request, response) = (self.path()?, self.path()?);
        let psn = self.client_psn("start psn")?;
        let msn = self.msn("start msn")?;
        let credits = self.u8("credits")?;
        let credits = self.checked(1, "credits", (credits < 32).then_some(credits))?;
        let mtu = self.u16("path_mtu")?;
        let known = matches!(mtu, 256 | 512 | 1024 | 2048 | 4096);
        let path_mtu = self.checked(2, "path_mtu", known.then_some(mtu))?;
        let depth = self.u16("depth")?;
        let domain = DomainId(self.u16("domain")?);
        let shard = ShardId(self.u8("shard")?);
        let start = Start { psn, msn, credits };
        Ok(Connection { client, server, request, response, start, path_mtu, depth, domain, shard })
    }

    fn cm_facts(&mut self) -> Result<Option<CmFacts>, RecordError> {
        let is_some = self.bool("cm")?;
        let facts = CmFacts {
            client_comm_id: self.u32("client_comm_id")?,
            server_comm_id: self.u32("server_comm_id")?,
            client_psn: self.u24("client_psn").map(Psn::new)?,
            server_psn: self.u24("server_psn").map(Psn::new)?,
            path_mtu: self.u16("cm path_mtu")?,
            partition_key: self.u16("cm partition_key")?,
            depth: self.u8("cm depth")?,
            client_depth: self.u8("client_depth")?,
            retry_count: self.u8("retry_count")?,
            rnr_retry_count: self.u8("rnr_retry_count")?,
            local_ack_timeout: self.u8("local_ack_timeout")?,
        };
        Ok(is_some.then_some(facts))
    }

    fn packets(&mut self) -> Result<u32, RecordError> {
        let packets = self.u32("packets")?;
        let fits = (1..=1 << 22).contains(&packets);
        self.checked(4, "packets", fits.then_some(packets))
    }

    fn extent(&mut self) -> Result<Option<Extent>, RecordError> {
        let is_some = self.bool("extent")?;
        let extent = Extent {
            remote_key: self.u32("remote_key")?,
            start: self.u64("start")?,
            len: self.u32("len")?,
        };
        Ok(is_some.then_some(extent))
    }

    fn past_read(&mut self) -> Result<PastRead, RecordError> {
        let server_psn = self.server_psn("server_psn")?;
        let extent = self.extent()?;
        let psn = self.client_psn("psn")?;
        let packets = self.packets()?;
        let read = extent.map(|extent| OwnRead { psn, packets, extent });
        Ok(PastRead { server_psn, read })
    }

    fn binding(&mut self) -> Result<Binding, RecordError> {
        let client = self.client("client")?;
        let psn = self.client_psn("psn")?;
        let msn = self.msn("msn")?;
        let packets = self.packets()?;
        let opcode = self.opcode("opcode")?;
        let payload_len = self.u16("payload_len")?;
        let exclusive = self.bool("exclusive")?;
        let steer = self.u8("steer")?;
        let steer = self.checked(1, "steer", (steer <= 2).then_some(steer))?;
        let place = self.u32("place")?;
        let extent = self.extent()?;
        let operands =
            Operands { swap_or_add: self.u64("swap_or_add")?, compare: self.u64("compare")? };
        let key = self.key("key")?;
        let server_qp = self.server("server_qp")?;
        let server_psn = self.server_psn("server_psn")?;
        let server_floor = self.server_psn("server_floor")?;
        let floor = self.client_psn("floor")?;
        Ok(Binding {
            client,
            psn,
            msn,
            packets,
            opcode,
            payload_len,
            exclusive,
            steer: match steer {
                1 => Steer::Place(place),
                2 => Steer::Alone(place),
                _ => Steer::Own,
            },
            extent,
            operands,
            key,
            server_qp,
            server_psn,
            server_floor,
            floor,
        })
    }
}
