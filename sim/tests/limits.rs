//! What the engine keeps in situations that no run of torture comes to.

mod direct;

use direct::{learnt, sides};
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
fn who_writes_a_word_that_is_on_its_way_elsewhere_waits() {
    assert!(direct::stray_writes_wait(&Config::default()));
}

#[test]
fn a_word_that_is_changed_past_the_engine_is_replaced_no_more() {
    assert!(direct::a_contradicted_word_is_left_alone(&Config::default()));
}

#[test]
fn appends_on_their_way_when_steering_is_switched_on_are_awaited() {
    assert!(direct::appends_from_before_a_switch_are_awaited(&Config::default()));
}

#[test]
fn what_an_engine_had_sent_alone_is_alone_for_the_next() {
    assert!(learnt::what_ran_alone_still_does(&Config::default()));
}

#[test]
fn a_place_keeps_its_host_for_the_next_engine() {
    assert!(learnt::a_place_keeps_its_host(&Config::default()));
}

#[test]
fn nothing_flips_while_what_passed_an_engine_before_may_be_on_its_way() {
    assert!(learnt::nothing_flips_at_once(&Config::default()));
}

#[test]
fn what_passed_before_a_flip_is_known_to_the_next_engine() {
    assert!(learnt::what_passed_is_known(&Config::default()));
}

#[test]
fn nobody_is_learnt_who_says_to_be_both_ends() {
    assert!(sides::one_side_teaches_nothing(&Config::default()));
}

#[test]
fn a_tag_is_the_connections_or_there_is_none() {
    assert!(sides::tags_are_the_connections(&Config::default()));
}
