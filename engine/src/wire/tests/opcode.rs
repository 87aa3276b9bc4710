//! Opcodes: the table in IBTA vol. 1, 9.2.1, once more and in another form.

use super::*;

#[test]
fn bytes_map_back() {
    for byte in 0..=u8::MAX {
        match Opcode::from_byte(byte) {
            Some(opcode) => assert_eq!(opcode.to_byte(), byte),
            None => assert!(byte == 0x15 || byte > 0x17, "{byte:#x}"),
        }
    }
    assert_eq!(Opcode::ALL.len(), 23);
}

#[test]
fn extension_headers() {
    // By opcode byte; 0x15 is none.
    let len = [0, 0, 0, 4, 0, 4, 16, 0, 0, 4, 16, 20, 16, 4, 0, 4, 4, 4, 12, 28, 28, 0, 4, 4];
    for &opcode in Opcode::ALL {
        assert_eq!(opcode.headers_len(), len[usize::from(opcode.to_byte())], "{opcode:?}");
    }
}

#[test]
fn kinds_follow_from_the_names() {
    for &opcode in Opcode::ALL {
        let name = opcode.name();
        let any = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        let whole = any(&["ONLY", "READ_REQUEST", "COMPARE_SWAP", "FETCH_ADD"]);
        assert_eq!(opcode.is_response(), any(&["RESPONSE", "ACKNOWLEDGE"]), "{name}");
        assert_eq!(opcode.is_request(), !opcode.is_response(), "{name}");
        assert_eq!(opcode.is_read_response(), any(&["READ_RESPONSE"]), "{name}");
        assert_eq!(opcode.is_atomic(), any(&["COMPARE_SWAP", "FETCH_ADD"]), "{name}");
        assert_eq!(opcode.is_write(), name.starts_with("WRITE"), "{name}");
        assert_eq!(opcode.is_send(), name.starts_with("SEND"), "{name}");
        assert_eq!(opcode.starts_message(), whole || any(&["FIRST"]), "{name}");
        assert_eq!(opcode.ends_message(), whole || any(&["LAST"]), "{name}");
        assert_eq!(opcode.has_immediate(), any(&["IMM"]), "{name}");
        assert_eq!(opcode.has_ieth(), any(&["INV"]), "{name}");
        assert_eq!(opcode.has_payload(), any(&["SEND", "WRITE", "RESPONSE"]), "{name}");
    }
}
