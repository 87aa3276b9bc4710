//! The names of what is counted, for every host: reports, metrics, logs.

use crate::counters::{Counters, DeclineReason, DropReason, GeneratedKind, KeptReason};

/// Names and counts, without the zeros.
fn by_name<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> &'static str,
    count: impl Fn(T) -> u64,
) -> impl Iterator<Item = (&'static str, u64)> {
    all.iter().map(move |&each| (name(each), count(each))).filter(|(_, count)| *count > 0)
}

/// Pairs each field with its name; a field that is not named does not compile.
macro_rules! totals {
    ($counters:expr, { $($field:ident),* $(,)? }) => {{
        let Counters { drops: _, generated: _, declined: _, kept: _, $($field),* } = $counters;
        [$((stringify!($field), *$field)),*]
    }};
}

impl Counters {
    /// Every counter that is one number.
    pub fn totals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let totals = totals!(self, {
            requests,
            completed,
            keyed,
            mapped,
            alone,
            passed,
            learnt,
            not_adopted,
            flips,
            emptied,
            fence_waits,
            server_waits,
            read_repeats,
            reads_inside_messages,
            repeats_returned,
            shed,
            timeouts,
            server_naks,
            returned,
            damaged_kept,
            hosts_closed,
            places_taken_over,
            teardowns_held,
            server_qps_lost,
            out_of_service,
            address_hits,
            address_misses,
            address_evictions,
            switches,
            steered_atomics,
            steered_reads,
            steered_back,
            reports_mended,
            list_waits,
            replaced_atomics,
            words_off,
            words_contradicted,
            word_waits,
            byte_orders_wrong,
            swaps_succeeded,
            swaps_failed,
            unsteered_atomics,
        });
        totals.into_iter()
    }

    /// Frames dropped, by reason, without the zeros.
    pub fn drops_by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        by_name(DropReason::ALL, DropReason::name, |reason| self.dropped(reason))
    }

    /// Packets made, by kind, without the zeros.
    pub fn generated_by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        by_name(GeneratedKind::ALL, GeneratedKind::name, |kind| self.generated(kind))
    }

    /// Atomics that stayed atomics, by reason, without the zeros.
    pub fn kept_by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        by_name(KeptReason::ALL, KeptReason::name, |reason| self.kept(reason))
    }

    /// Keyed messages declined, by reason, without the zeros.
    pub fn declined_by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        by_name(DeclineReason::ALL, DeclineReason::name, |reason| self.declined(reason))
    }
}
