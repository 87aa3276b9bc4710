//! The bytes are one frame, from its Ethernet header on.

use std::sync::OnceLock;

use qpmux_engine::wire::{Classified, CmMad, Layout, NotRc, PatchTables, classify, icrc};

/// Reads everything that a frame may hold.
pub fn wire(data: &[u8]) {
    match classify(data) {
        Ok(Classified::Rc(layout)) => rc(data, &layout),
        Ok(Classified::Other(NotRc::Cm(layout))) => {
            let mad = layout.mad(data);
            assert_eq!(mad.len(), 256);
            let _ = icrc::verify_cm(data, &layout);
            message(mad);
        }
        Ok(Classified::Other(_)) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    message(data);
}

/// What is read of a message of the connection manager is what was written.
fn message(mad: &[u8]) {
    if let Ok(read) = CmMad::parse(mad) {
        assert_eq!(CmMad::parse(&read.to_bytes()), Ok(read));
    }
}

fn rc(frame: &[u8], layout: &Layout) {
    static TABLES: OnceLock<PatchTables> = OnceLock::new();

    let payload = layout.payload(frame);
    assert_eq!(payload.len(), usize::from(layout.payload_len));
    let bth = layout.bth(frame);
    assert_eq!((bth.opcode, bth.psn, bth.dest_qp), (layout.opcode, layout.psn, layout.dest_qp));
    assert_eq!(layout.reth(frame).is_some(), layout.opcode.has_reth());
    assert_eq!(layout.aeth(frame).is_some(), layout.opcode.has_aeth());
    assert_eq!(layout.atomic_eth(frame).is_some(), layout.opcode.has_atomic_eth());
    assert_eq!(layout.atomic_ack(frame).is_some(), layout.opcode.has_atomic_ack_eth());
    assert_eq!(layout.immediate(frame).is_some(), layout.opcode.has_immediate());
    assert_eq!(layout.ieth(frame).is_some(), layout.opcode.has_ieth());

    // A frame that is made valid stays valid when a header changes and the ICRC with it, and one
    // that is not stays invalid.
    let was_right = icrc::verify(frame, layout);
    let mut copy = frame.to_vec();
    let old = copy[usize::from(layout.ip)..usize::from(layout.payload)].to_vec();
    copy[usize::from(layout.bth) + 7] ^= 0x5a;
    copy[usize::from(layout.bth) + 11] ^= 0xa5;
    TABLES.get_or_init(|| PatchTables::new(2048)).patch_frame(&old, &mut copy, layout);
    assert_eq!(icrc::verify(&copy, layout), was_right);
    icrc::store(&mut copy, layout);
    assert!(icrc::verify(&copy, layout));
    assert!(matches!(classify(&copy), Ok(Classified::Rc(_))));
}
