//! The figures of qpmux, drawn with plotters.
//!
//! A figure is a function from plain data to the text of an SVG file. It reads no clock, no file
//! and no font: the same data gives the same bytes on every machine, so that a figure can be
//! checked in and compared. Fonts are named by generic family only and resolved by the viewer.
//!
//! [`placement`] is the figure of what the multiplexer does. What figures share is in `style`
//! (how things look) and `canvas` (how they get onto the page).

pub mod placement;

mod canvas;
mod error;
mod style;

pub use error::PlotError;
pub use placement::{Dot, Placement, draw_placement};
