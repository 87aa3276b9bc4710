//! Scenarios: whole captures through `qpmux`, judged by checkers that share no code with it; and
//! what it says when it cannot do what it is asked.

mod bad_input;
mod captured;
mod damaged;
mod decoded;
mod documents;
mod guide;
mod in_place;
mod learning;
mod lossy;
mod manual;
mod matrix;
mod mutations;
mod options;
mod page;
mod plot;
mod questions;
mod schemas;
mod support;
mod sweep;
mod synth;
