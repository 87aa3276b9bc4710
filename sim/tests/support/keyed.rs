//! A policy for records that begin with a key.

use qpmux_engine::policy::{
    AtomicKey, ByteOrder, KeyField, KeyMap, Map, Order, Policy, Profile, TrustBy,
};
use qpmux_engine::wire::Opcode;

/// All keys belong to one server queue pair. Lengths of a record and of its key are in bytes.
pub(crate) fn keyed(record: usize, key: u8, trust: TrustBy) -> Policy {
    let field = KeyField {
        opcode: Opcode::WriteOnly,
        payload_len: record as u32,
        offset: 0,
        len: key,
        byte_order: ByteOrder::Little,
    };
    Policy {
        map: Map::Writes,
        key_map: KeyMap::Modulo,
        server_qps: 1,
        trust,
        order: Order::Fenced,
        profile: Profile::new(vec![field], AtomicKey::LastWritten),
        message_packets_max: 1,
        ..Policy::default()
    }
}
