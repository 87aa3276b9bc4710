//! An engine allocates nothing after its construction, whatever comes in; what has no place is
//! shed, and counted by name.
//!
//! Only the calls of engines are looked at: the host and the ends around them may allocate.

mod flood;

use std::cell::Cell;
use std::fs;

use qpmux_engine::{Counters, DropReason, GeneratedKind};
use qpmux_tests::fuzz::guarded_engine;
use qpmux_tests::root;

thread_local! {
    /// Calls of engines on this thread, and allocations in them.
    static CALLS: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Makes a call, and counts what it allocates.
fn counted(call: &mut dyn FnMut()) {
    let found = allocation_counter::measure(call).count_total;
    let (calls, allocations) = CALLS.get();
    CALLS.set((calls + 1, allocations + found));
}

/// At least so many calls were made, and nothing was allocated.
fn assert_nothing_allocated(calls_min: u64) {
    let (calls, allocations) = CALLS.get();
    println!("{calls} calls, {allocations} allocations");
    assert!(calls >= calls_min, "{calls} calls only");
    assert_eq!(allocations, 0, "in {calls} calls");
}

/// What counts here would be seen if it were there.
#[test]
fn an_allocation_is_counted() {
    counted(&mut || drop(std::hint::black_box(vec![1_u8])));
    assert_eq!(CALLS.get(), (1, 1));
}

/// Learning, flips, guests, losses and repairs, refusals, deaths: all inputs of the fuzz target.
#[test]
fn whole_conversations_allocate_nothing() {
    let mut sum = Counters::default();
    for entry in fs::read_dir(root().join("tests/fuzz/corpus/engine")).unwrap() {
        sum.merge(&guarded_engine(&fs::read(entry.unwrap().path()).unwrap(), counted));
    }
    assert_nothing_allocated(50_000);
    assert!(sum.learnt > 100 && sum.flips > 100, "{sum:?}");
    assert!(sum.mapped > 100 && sum.alone > 10 && sum.emptied > 10, "{sum:?}");
    assert!(sum.generated(GeneratedKind::Repair) > 100 && sum.read_repeats > 10, "{sum:?}");
    assert!(sum.server_qps_lost > 10 && sum.out_of_service > 10, "{sum:?}");
    for reason in [
        DropReason::IcrcBad,
        DropReason::RequestGap,
        DropReason::DuplicateAnswered,
        DropReason::ResponseUnfit,
        DropReason::OutOfService,
    ] {
        assert!(sum.dropped(reason) > 0, "{}: {sum:?}", reason.name());
    }
}
