//! What the engine keeps in situations that no run of torture comes to.

mod direct;

use qpmux_engine::Config;

#[test]
fn the_psns_open_at_a_server_queue_pair_stay_below_half() {
    assert!(direct::span_stays_below_half(&Config::default()));
}

#[test]
fn an_engine_that_goes_on_takes_the_same_bytes_back_only() {
    assert!(direct::returned_bytes_are_the_same(&Config::default()));
}

#[test]
fn a_word_that_is_changed_past_the_engine_is_replaced_no_more() {
    assert!(direct::a_contradicted_word_is_left_alone(&Config::default()));
}
