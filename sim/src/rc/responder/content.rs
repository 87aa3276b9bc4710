//! What each PSN was used for, to notice when it is used for something else (I-S2).

use std::collections::BTreeMap;

use qpmux_engine::wire::{Layout, Opcode, Psn, RethRepr};

use crate::memory::digest;

/// What a PSN stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Content {
    /// A packet with everything after its BTH in the digest.
    Packet { opcode: Opcode, digest: u64 },
    /// A READ of what is left from this PSN on.
    Read(RethRepr),
}

/// Contents of the PSNs in a window.
#[derive(Clone, Debug)]
pub(in super::super) struct Contents {
    by_psn: BTreeMap<u32, Content>,
    window: u32,
    pmtu: u32,
}

impl Contents {
    pub(in super::super) fn new(window: u32, pmtu: usize) -> Self {
        Self { by_psn: BTreeMap::new(), window: window.clamp(1, 1 << 22), pmtu: pmtu as u32 }
    }

    /// The earlier content of the packet's PSNs, if it was another one.
    pub(in super::super) fn conflict(&self, layout: &Layout, frame: &[u8]) -> Option<Content> {
        let known = self.by_psn.get(&layout.psn.value())?;
        (*known != of_packet(layout, frame)).then_some(*known)
    }

    /// Remembers the packet's content, unless something is known of its PSN.
    pub(in super::super) fn bind(&mut self, layout: &Layout, frame: &[u8]) {
        match of_packet(layout, frame) {
            Content::Read(reth) => self.bind_read(layout.psn, reth),
            content => self.insert(layout.psn, content),
        }
    }

    /// A READ stands at each of its PSNs for what is left from there, so its resumption is known.
    fn bind_read(&mut self, psn: Psn, reth: RethRepr) {
        let psns = reth.dma_length.div_ceil(self.pmtu.max(1)).clamp(1, self.window);
        for index in 0..psns {
            let done = index * self.pmtu;
            let rest = RethRepr {
                virtual_address: reth.virtual_address.wrapping_add(u64::from(done)),
                dma_length: reth.dma_length - done,
                ..reth
            };
            self.insert(psn.add(index), Content::Read(rest));
        }
    }

    fn insert(&mut self, psn: Psn, content: Content) {
        self.by_psn.entry(psn.value()).or_insert(content);
    }

    /// Forgets what leaves the window as `psns` PSNs from `psn` on enter it.
    pub(in super::super) fn advance(&mut self, psn: Psn, psns: u32) {
        for index in 0..psns {
            self.by_psn.remove(&psn.add(index).sub(self.window).value());
        }
    }
}

fn of_packet(layout: &Layout, frame: &[u8]) -> Content {
    if let Some(reth) = layout.reth(frame).filter(|_| layout.opcode == Opcode::ReadRequest) {
        return Content::Read(reth);
    }
    let start = usize::from(layout.bth) + 12;
    let covered = frame.get(start..usize::from(layout.icrc)).unwrap_or_default();
    Content::Packet { opcode: layout.opcode, digest: digest(covered) }
}
