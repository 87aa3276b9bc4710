//! Writes a page of made-up results into a folder, to see how it looks.

#[path = "../chart/synthetic.rs"]
mod charts;
mod synthetic;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("usage: page FOLDER")?);
    std::fs::write(dir.join("index.html"), synthetic::page().html()?)?;
    Ok(())
}
