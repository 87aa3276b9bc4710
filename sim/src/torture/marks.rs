//! Congestion marks: what is passed on of a marked packet is marked as well (RFC 3168, 9.1).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use qpmux_engine::Side;
use qpmux_engine::wire::{Classified, Layout, Opcode, classify};

use super::notices::{content, is_marked};

/// What came to the middlebox without a mark and has not been passed on: it looks the same as
/// what comes with one, if two clients read the same.
#[derive(Default)]
pub(super) struct Marks {
    waiting: HashMap<u64, u32>,
    /// Marks that were passed on.
    pub(super) carried: u64,
}

impl Marks {
    /// A packet came in on `side`, and `sent` went out for it. Why its mark is lost.
    pub(super) fn note(
        &mut self,
        side: Side,
        came: &[u8],
        sent: &[(Side, Vec<u8>)],
    ) -> Option<String> {
        let layout = rc_layout(came)?;
        let what = key(side, &layout, came);
        let waited = what.map_or(0, |what| self.waiting.get(&what).copied().unwrap_or(0));
        let is_marked_here = is_marked(came);
        let mut passed = 0;
        let mut carried = false;
        for (_, frame) in sent.iter().filter(|(to, _)| *to != side) {
            let Some(layout) = rc_layout(frame) else { continue };
            let Some(out) = key(side, &layout, frame) else { continue };
            if what == Some(out) {
                passed += 1;
                carried |= is_marked(frame);
            }
            if let Some(waiting) = self.waiting.get_mut(&out) {
                *waiting = waiting.saturating_sub(1);
            }
        }
        if !is_marked_here {
            if passed == 0
                && let Some(what) = what
            {
                *self.waiting.entry(what).or_default() += 1;
            }
            return None;
        }
        self.carried += u64::from(carried);
        let lost = passed > waited && !carried;
        lost.then(|| format!("{} lost its mark", layout.opcode.name()))
    }
}

fn rc_layout(frame: &[u8]) -> Option<Layout> {
    match classify(frame) {
        Ok(Classified::Rc(layout)) => Some(layout),
        _ => None,
    }
}

/// What a packet says that is passed on with it; `None` for those that the engine makes itself.
fn key(from: Side, layout: &Layout, frame: &[u8]) -> Option<u64> {
    let is_made = matches!(layout.opcode, Opcode::Acknowledge | Opcode::AtomicAcknowledge);
    if is_made {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    (from == Side::Client, layout.opcode.to_byte()).hash(&mut hasher);
    match layout.opcode.is_request() {
        true => content(layout, frame).hash(&mut hasher),
        false => layout.payload(frame).hash(&mut hasher),
    }
    Some(hasher.finish())
}
