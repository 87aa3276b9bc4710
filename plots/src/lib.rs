//! The figures of qpmux, drawn with plotters.
//!
//! A figure is a function from plain data to the bytes of an SVG or PNG file. It reads no clock, no
//! file and no font of the machine: the same data gives the same bytes on every machine, so that a
//! figure can be checked in and compared. In SVG, fonts are named by generic family only and
//! resolved by the viewer; PNG is drawn with a font that is part of the program.
//!
//! [`placement`] is the figure of what the multiplexer does, [`chart`] that of an experiment, and
//! [`page`] puts figures and tables into one HTML file. What figures share is in `style` (how
//! things look), `canvas` (how they get onto the page), `font` and `ticks`.

pub mod chart;
pub mod experiment;
pub mod page;
pub mod placement;
pub mod table;

mod canvas;
mod error;
mod font;
mod style;
mod ticks;

pub use error::PlotError;
pub use placement::{Dot, Placement, draw_placement};
