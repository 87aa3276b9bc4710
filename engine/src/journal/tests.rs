//! What is read is what was written, and a journal keeps what matters.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::connections::CmFacts;
use crate::policy::{Connection, Endpoint, PathFacts, Start};
use crate::wire::{ClientPsn, Msn, Opcode, Psn, Qpn, ServerPsn};
use crate::{ClientId, Config, DomainId, GENERATED_MAX, ServerQpId, ShardId};

fn client_psn() -> impl Strategy<Value = ClientPsn> {
    any::<u32>().prop_map(ClientPsn::new)
}

fn server_psn() -> impl Strategy<Value = ServerPsn> {
    any::<u32>().prop_map(ServerPsn::new)
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (any::<[u8; 6]>(), any::<Option<[u8; 16]>>(), any::<u32>()).prop_map(|(mac, ip, n)| {
        let v4 = || IpAddr::V4(Ipv4Addr::from_bits(n.rotate_left(9)));
        let ip = ip.map_or_else(v4, |octets| IpAddr::V6(Ipv6Addr::from(octets)));
        Endpoint { mac, ip, qpn: Qpn::new(n) }
    })
}

fn path() -> impl Strategy<Value = PathFacts> {
    any::<(u16, u8, u8, bool, u16, Option<u16>)>().prop_map(
        |(source_port, class, hops, migration, key, tag)| PathFacts {
            source_port,
            traffic_class: class,
            hop_limit: hops,
            migration_request: migration,
            partition_key: key,
            tag,
        },
    )
}

fn connection() -> impl Strategy<Value = Connection> {
    let numbers = (client_psn(), any::<u32>(), 0u8..32, 0u32..5, any::<(u16, u16, u8)>());
    (endpoint(), endpoint(), path(), path(), numbers).prop_map(
        |(client, server, request, response, (psn, msn, credits, mtu, (depth, domain, shard)))| {
            Connection {
                client,
                server,
                request,
                response,
                start: Start { psn, msn: Msn::new(msn), credits },
                path_mtu: 256 << mtu,
                depth,
                domain: DomainId(domain),
                shard: ShardId(shard),
            }
        },
    )
}

fn cm_facts() -> impl Strategy<Value = CmFacts> {
    any::<([u32; 4], [u16; 2], [u8; 5])>().prop_map(|(names, numbers, counts)| CmFacts {
        client_comm_id: names[0],
        server_comm_id: names[1],
        client_psn: Psn::new(names[2]),
        server_psn: Psn::new(names[3]),
        path_mtu: numbers[0],
        depth: counts[0],
        client_depth: counts[1],
        partition_key: numbers[1],
        retry_count: counts[2],
        rnr_retry_count: counts[3],
        local_ack_timeout: counts[4],
    })
}

fn steer() -> impl Strategy<Value = Steer> {
    (0..3, any::<u32>()).prop_map(|(steer, place)| match steer {
        0 => Steer::Own,
        1 => Steer::Place(place),
        _ => Steer::Alone(place),
    })
}

fn opcode() -> impl Strategy<Value = Opcode> {
    let requests: Vec<Opcode> = Opcode::ALL.iter().copied().filter(|o| o.is_request()).collect();
    prop::sample::select(requests)
}

fn binding() -> impl Strategy<Value = Binding> {
    let extent = any::<Option<(u32, u64, u32)>>();
    let facts = (1u32..=1 << 22, opcode(), any::<(u16, bool, u64, u64)>(), steer(), extent);
    let ends = (any::<(u32, u32, u32)>(), any::<Option<u64>>());
    let psns = (client_psn(), client_psn(), server_psn(), server_psn());
    (facts, ends, psns).prop_map(|(facts, ((client, server, msn), key), psns)| {
        let (packets, opcode, (payload_len, exclusive, swap_or_add, compare), steer, extent) =
            facts;
        let (psn, floor, server_psn, server_floor) = psns;
        Binding {
            client: ClientId(client),
            psn,
            msn: Msn::new(msn),
            packets,
            opcode,
            payload_len,
            exclusive,
            steer,
            extent: extent.map(|(remote_key, start, len)| Extent { remote_key, start, len }),
            operands: Operands { swap_or_add, compare },
            key,
            server_qp: ServerQpId(server),
            server_psn,
            server_floor,
            floor,
        }
    })
}

fn point() -> impl Strategy<Value = Record> {
    let psns = (client_psn(), prop::option::of(client_psn()), server_psn(), server_psn());
    (any::<(bool, u32, u32, Option<u32>)>(), psns, any::<(Option<u64>, bool)>()).prop_map(
        |((which, id, msn, other), (floor, last_plain, next, server_floor), (key, in_message))| {
            if which {
                let (client, msn) = (ClientId(id), Msn::new(msn));
                let point = ClientPoint { client, floor, msn, last_plain, key, in_message };
                return Record::ClientPoint(point);
            }
            Record::ServerPoint(ServerPoint {
                server_qp: ServerQpId(id),
                next,
                floor: server_floor,
                in_message: other.map(ClientId),
            })
        },
    )
}

fn small() -> impl Strategy<Value = Record> {
    let psns = (client_psn(), server_psn());
    (0..9, any::<(u32, u64, bool)>(), psns).prop_map(|(which, (id, number, add), (c, s))| {
        let (client, server_qp) = (ClientId(id), ServerQpId(id));
        match which {
            0 => {
                let opcode = if add { Opcode::FetchAdd } else { Opcode::CompareSwap };
                Record::Value { client, psn: c, opcode, original: number }
            }
            1 => Record::Fill { server_qp, psn: s },
            2 => Record::Stopped { client },
            3 => Record::Lost { server_qp, done: s, refusing: add },
            4 => Record::Gone { server_qp },
            5 => Record::Vacant { client },
            6 => Record::Ended { client, late: add },
            7 => Record::Host { place: number as u32, server_qp },
            _ => Record::Declined { domain: DomainId(id as u16), key: number },
        }
    })
}

fn past_read() -> impl Strategy<Value = Record> {
    let read = (client_psn(), 1u32..=1 << 22, any::<(u32, u64, u32)>());
    let read = read.prop_map(|(psn, packets, (remote_key, start, len))| {
        let extent = Extent { remote_key, start, len };
        OwnRead { psn, packets, extent }
    });
    (any::<u32>(), server_psn(), prop::option::of(read)).prop_map(|(id, server_psn, read)| {
        Record::PastRead { server_qp: ServerQpId(id), past: PastRead { server_psn, read } }
    })
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        (any::<u32>(), connection(), prop::option::of(cm_facts())).prop_map(
            |(id, connection, cm)| Record::Start { client: ClientId(id), connection, cm }
        ),
        binding().prop_map(Record::Binding),
        point(),
        small(),
        past_read(),
    ]
}

fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = vec![0; GENERATED_MAX];
    let len = record.encode(&mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written(record in record()) {
        let bytes = encode(&record);
        prop_assert_eq!(Record::decode(&bytes), Ok((record, bytes.len())));
        prop_assert_eq!(bytes.len(), record.len());
        let mut short = vec![0; bytes.len() - 1];
        prop_assert_eq!(record.encode(&mut short), None);
    }

    #[test]
    fn a_record_that_ends_early_is_an_error(record in record()) {
        let bytes = encode(&record);
        for end in 0..bytes.len() {
            let error = Record::decode(&bytes[..end]).unwrap_err();
            prop_assert!(error.offset <= end && !error.field.is_empty());
        }
    }

    #[test]
    fn what_can_be_read_is_written_the_same_or_refused(
        record in record(), at in 0usize..GENERATED_MAX, bits in 1u8..
    ) {
        let mut bytes = encode(&record);
        let at = at % bytes.len();
        bytes[at] ^= bits;
        if let Ok((read, len)) = Record::decode(&bytes) {
            prop_assert_eq!(Record::decode(&encode(&read)), Ok((read, len)));
        }
    }

    #[test]
    fn no_bytes_make_a_journal_panic(records in prop::collection::vec(record(), 0..20)) {
        let mut journal = Journal::new(&Config::default());
        for record in &records {
            let _ = journal.apply(record);
        }
    }
}

#[test]
fn errors_name_where_and_what() {
    let error = |bytes: &[u8]| Record::decode(bytes).unwrap_err();
    assert_eq!(error(&[]), RecordError { offset: 0, kind: 0, field: "kind" });
    assert_eq!(error(&[77, 1]), RecordError { offset: 0, kind: 77, field: "kind" });
    assert_eq!(error(&[5, 2]), RecordError { offset: 1, kind: 5, field: "version" });
    let fill = Record::Fill { server_qp: ServerQpId(1), psn: ServerPsn::new(2) };
    let mut bytes = encode(&fill);
    bytes[9] = 1;
    assert_eq!(error(&bytes), RecordError { offset: 6, kind: 4, field: "psn" });
}

const SERVER: ServerQpId = ServerQpId(0);

/// The n-th request of a client, a WRITE, or each fourth a compare-and-swap.
fn nth(client: u32, n: u32, floor: u32, server_psn: u32, server_floor: u32) -> Binding {
    let start = 0xff_fff0;
    let opcode = if n % 4 == 3 { Opcode::CompareSwap } else { Opcode::WriteOnly };
    Binding {
        client: ClientId(client),
        psn: ClientPsn::new(start + n),
        msn: Msn::new(n + 1),
        packets: 1,
        opcode,
        payload_len: 8,
        exclusive: false,
        steer: Steer::Place(1),
        extent: Some(Extent { remote_key: 1, start: 0, len: 8 }),
        operands: Operands::default(),
        key: Some(u64::from(n)),
        server_qp: SERVER,
        server_psn: ServerPsn::new(0xff_fff8 + server_psn),
        server_floor: ServerPsn::new(0xff_fff8 + server_floor),
        floor: ClientPsn::new(start + floor),
    }
}

fn again(journal: &Journal, config: &Config) -> Journal {
    let mut log = Vec::new();
    journal.checkpoint(|record| log.extend(encode(record)));
    Journal::read(config, &log).unwrap()
}

#[test]
fn a_journal_forgets_what_is_done_and_stays_small() {
    let config = Config { atomic_results: 2, ..Config::default() };
    let mut journal = Journal::new(&config);
    for n in 0..1000u32 {
        let floor = n.saturating_sub(5);
        let binding = nth(7, n, floor, n, floor);
        journal.apply(&Record::Binding(binding)).unwrap();
        if binding.opcode.is_atomic() {
            let (client, psn, opcode) = (binding.client, binding.psn, binding.opcode);
            let value = Record::Value { client, psn, opcode, original: u64::from(n) };
            journal.apply(&value).unwrap();
        }
        let (_, known) = journal.clients().next().unwrap();
        assert_eq!(known.open.len() as u32, n - floor + 1);
        assert!(known.values.len() <= 2);
        assert_eq!(again(&journal, &config), journal);
    }
    let (_, known) = journal.clients().next().unwrap();
    assert_eq!(known.msn, Some(Msn::new(994)));
    assert_eq!(known.key, Some(993));
    assert_eq!(known.last_plain, Some(ClientPsn::new(0xff_fff0 + 993)));
    let values: Vec<u64> = known.values.iter().map(|value| value.original).collect();
    assert_eq!(values, [987, 991]);
}

#[test]
fn a_filled_place_stops_its_client_and_is_kept_until_it_is_done() {
    let config = Config::default();
    let mut journal = Journal::new(&config);
    for (client, n, psn) in [(1, 0, 0), (2, 0, 1), (1, 1, 2)] {
        journal.apply(&Record::Binding(nth(client, n, 0, psn, 0))).unwrap();
    }
    let psn = ServerPsn::new(0xff_fff8);
    journal.apply(&Record::Fill { server_qp: SERVER, psn }).unwrap();
    assert_eq!(again(&journal, &config), journal);
    let stopped: Vec<bool> = journal.clients().map(|(_, known)| known.stopped).collect();
    assert_eq!(stopped, [true, false]);
    let strays = |journal: &Journal| -> Vec<(u32, bool)> {
        let (_, known) = journal.servers().next().unwrap();
        known.strays.iter().map(|s| (s.binding.server_psn.value(), s.filled)).collect()
    };
    assert_eq!(strays(&journal), [(0xff_fff8, true), (0xff_fffa, false)]);
    journal.apply(&Record::Binding(nth(2, 1, 1, 3, 2))).unwrap();
    assert_eq!(strays(&journal), [(0xff_fffa, false)]);
    assert_eq!(again(&journal, &config), journal);
}

#[test]
fn a_request_that_came_back_counts_where_it_was_bound_last() {
    let mut journal = Journal::new(&Config::default());
    journal.apply(&Record::Binding(nth(1, 0, 0, 0, 0))).unwrap();
    let moved = Binding { server_qp: ServerQpId(3), ..nth(1, 0, 0, 9, 9) };
    journal.apply(&Record::Binding(moved)).unwrap();
    let (_, known) = journal.clients().next().unwrap();
    assert_eq!(known.open.iter().map(|o| o.binding).collect::<Vec<_>>(), [moved]);
}

#[test]
fn a_repeated_read_is_kept_until_its_server_queue_pair_has_done_it() {
    let config = Config::default();
    let mut journal = Journal::new(&config);
    let read = Binding { opcode: Opcode::ReadRequest, ..nth(1, 0, 4, 8, 5) };
    journal.apply(&Record::Binding(nth(1, 3, 0, 7, 5))).unwrap();
    journal.apply(&Record::Binding(read)).unwrap();
    let strays = |journal: &Journal| journal.servers().next().unwrap().1.strays.len();
    assert_eq!(strays(&journal), 1);
    assert_eq!(again(&journal, &config), journal);
    journal.apply(&Record::Binding(nth(1, 4, 4, 9, 9))).unwrap();
    assert_eq!(strays(&journal), 0);
}

fn start(client: u32) -> Record {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let end = Endpoint { mac: [0; 6], ip, qpn: Qpn::new(client) };
    let path = PathFacts {
        source_port: 1,
        traffic_class: 0,
        hop_limit: 64,
        migration_request: false,
        partition_key: 0xffff,
        tag: None,
    };
    let connection = Connection {
        client: end,
        server: end,
        request: path,
        response: path,
        start: Start { psn: ClientPsn::new(0), msn: Msn::new(0), credits: 31 },
        path_mtu: 256,
        depth: 1,
        domain: DomainId(0),
        shard: ShardId(0),
    };
    Record::Start { client: ClientId(client), connection, cm: None }
}

#[test]
fn a_number_that_is_used_again_begins_anew_and_its_guests_have_their_answers() {
    let config = Config::default();
    let mut journal = Journal::new(&config);
    let elsewhere =
        |client, n, psn| Binding { server_qp: ServerQpId(9), ..nth(client, n, 0, psn, 0) };
    let host = Record::Host { place: 1, server_qp: SERVER };
    let late = Record::Ended { client: ClientId(0), late: true };
    for record in [start(0), start(1), host, late] {
        journal.apply(&record).unwrap();
    }
    // The guest's first goes to another server queue pair, and so does the owner's only one.
    for binding in [elsewhere(1, 0, 0), nth(1, 1, 0, 0, 0), elsewhere(0, 0, 1), elsewhere(1, 2, 2)]
    {
        journal.apply(&Record::Binding(binding)).unwrap();
    }
    assert_eq!(again(&journal, &config), journal);
    journal.apply(&Record::Vacant { client: ClientId(0) }).unwrap();
    assert_eq!(again(&journal, &config), journal);
    let clients: Vec<_> = journal.clients().map(|(id, known)| (id.0, known.open.len())).collect();
    assert_eq!(clients, [(1, 1)], "what was bound at it, and all before that, is done");
    let servers: Vec<_> = journal.servers().map(|(id, known)| (id.0, known.strays.len())).collect();
    assert_eq!(servers, [(9, 0)], "so is what the owner had bound elsewhere");
    assert_eq!(journal.hosts().count(), 0);
}

#[test]
fn a_host_is_one_until_it_is_gone_and_may_be_one_again() {
    let config = Config::default();
    let mut journal = Journal::new(&config);
    let host = |place, id| Record::Host { place, server_qp: ServerQpId(id) };
    let gone = Record::Gone { server_qp: ServerQpId(1) };
    for record in [host(4, 1), host(5, 2), gone, host(4, 2), host(5, 1)] {
        journal.apply(&record).unwrap();
        assert_eq!(again(&journal, &config), journal);
    }
    assert_eq!(journal.hosts().collect::<Vec<_>>(), [(4, ServerQpId(2)), (5, ServerQpId(1))]);
    assert!(journal.servers().all(|(_, known)| !known.gone));
}

#[test]
fn what_no_log_of_this_configuration_says_is_an_error() {
    let config = Config { client_window_max: 2, connections_max: 2, ..Config::default() };
    let mut journal = Journal::new(&config);
    let client = ClientId(2);
    assert_eq!(journal.apply(&Record::Stopped { client }), Err(JournalError::Connection(2)));
    journal.apply(&Record::Binding(nth(1, 0, 0, 0, 0))).unwrap();
    journal.apply(&Record::Binding(nth(1, 1, 0, 1, 0))).unwrap();
    let more = Record::Binding(nth(1, 2, 0, 2, 0));
    assert_eq!(journal.apply(&more), Err(JournalError::Open(1)));
    assert!(Journal::read(&config, &[2, 1, 0]).is_err());
}
