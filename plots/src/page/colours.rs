//! The colours of figures on a dark page. A figure names the colours of white paper; the page's
//! style puts those for dark paper in their places.

use std::fmt::Write;

use plotters::style::RGBColor;

use crate::style;

/// A rule of CSS for each colour of a figure, as fill and as stroke.
pub(super) fn rules() -> String {
    let mut out = String::new();
    for (light, dark) in style::dark_pairs() {
        let (light, dark) = (hex(light), hex(dark));
        for what in ["fill", "stroke"] {
            let _ = writeln!(
                out,
                ".chart [{what}=\"{light}\"] {{ {what}: light-dark({light}, {dark}); }}"
            );
        }
    }
    out
}

/// As plotters writes it.
fn hex(colour: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
}
