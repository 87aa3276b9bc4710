//! Writes charts of made-up data into a folder, as SVG and PNG, to see how they look.

mod synthetic;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("usage: chart FOLDER")?);
    let charts = [
        ("eight", synthetic::eight()),
        ("compared", synthetic::compared()),
        ("words", synthetic::words()),
    ];
    for (name, chart) in charts {
        std::fs::write(dir.join(format!("{name}.svg")), chart.svg()?)?;
        std::fs::write(dir.join(format!("{name}.png")), chart.png()?)?;
    }
    Ok(())
}
