//! Prints the placement figure of made-up data, to see how it looks.

mod synthetic;

use qpmux_plots::{PlotError, draw_placement};

fn main() -> Result<(), PlotError> {
    print!("{}", draw_placement(&synthetic::placement(4_000))?);
    Ok(())
}
