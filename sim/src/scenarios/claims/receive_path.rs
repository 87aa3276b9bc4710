//! Of the host receive path.

use super::{Claim, Evidence, Known, ratio};

const PLACEHOLDER: Known =
    Known { result: "more threads do more", source: "this is a first figure, to be replaced" };

/// What has to come out.
pub(in crate::scenarios) fn claims(evidence: &Evidence<'_>) -> Vec<Claim> {
    let last = ratio(evidence.last("livelock", "livelock"), Some(1.0));
    vec![PLACEHOLDER.claim("throughput with most threads, Mops/s", last).at_least(0.1)]
}
