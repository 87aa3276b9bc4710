//! How figures look: sizes, colours, and the marks that tell series apart.
//!
//! All lengths are pixels of a page [`WIDTH`] wide, at which all text is readable.

use plotters::style::RGBColor;

/// Width of every figure.
pub(crate) const WIDTH: i32 = 900;
/// Free space between the content and the border of a figure.
pub(crate) const MARGIN: i32 = 18;

/// Text height of a figure's title.
pub(crate) const TITLE: f64 = 19.0;
/// Text height of a panel's heading.
pub(crate) const HEADING: f64 = 15.5;
/// Text height of sentences, legends and axis titles.
pub(crate) const BODY: f64 = 12.75;
/// Text height of tick labels and footnotes.
pub(crate) const SMALL: f64 = 11.5;

/// Behind everything. Opaque, so that a figure looks the same on a dark page.
pub(crate) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
/// Every other row, so that the eye can follow one across panels.
pub(crate) const BAND: RGBColor = RGBColor(0xf3, 0xf5, 0xf8);
/// Grid lines.
pub(crate) const GRID: RGBColor = RGBColor(0xdd, 0xe1, 0xe6);
/// Frames and tick marks.
pub(crate) const FRAME: RGBColor = RGBColor(0x7a, 0x80, 0x88);
/// Text.
pub(crate) const INK: RGBColor = RGBColor(0x1c, 0x1f, 0x24);
/// Text of less weight; still 6:1 against the paper.
pub(crate) const MUTED: RGBColor = RGBColor(0x58, 0x5e, 0x68);
/// Data that has no series of its own.
pub(crate) const OTHER: RGBColor = RGBColor(0xb9, 0xbe, 0xc6);

/// The shape of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// Filled circle.
    Disc,
    /// Filled square.
    Square,
    /// Filled triangle, point upwards.
    Up,
    /// Filled square on its corner.
    Diamond,
    /// Filled triangle, point downwards.
    Down,
    /// Circle with a hole.
    Ring,
    /// Two strokes, upright.
    Plus,
    /// Two strokes, diagonal.
    Cross,
    /// A small filled circle, for data without a series.
    Speck,
}

/// A mark: colour and shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Its colour.
    pub(crate) colour: RGBColor,
    /// Its shape.
    pub(crate) shape: Shape,
}

const fn mark(rgb: (u8, u8, u8), shape: Shape) -> Mark {
    Mark { colour: RGBColor(rgb.0, rgb.1, rgb.2), shape }
}

/// The marks of series, in order. No two share a colour or a shape, so that either is enough.
///
/// The colours are those of Okabe and Ito, made for colour-blind readers; their yellow, which
/// vanishes on white paper, is replaced by an olive. Neighbours differ in lightness too.
pub(crate) const SERIES: [Mark; 8] = [
    mark((0x00, 0x72, 0xb2), Shape::Disc),
    mark((0xe6, 0x9f, 0x00), Shape::Square),
    mark((0x00, 0x9e, 0x73), Shape::Up),
    mark((0xcc, 0x79, 0xa7), Shape::Diamond),
    mark((0xd5, 0x5e, 0x00), Shape::Down),
    mark((0x56, 0xb4, 0xe9), Shape::Ring),
    mark((0x00, 0x00, 0x00), Shape::Plus),
    mark((0x7d, 0x72, 0x14), Shape::Cross),
];

/// What takes the place of each grey on a dark page: as far from the paper there as on white.
const DARK_GREYS: [(RGBColor, RGBColor); 7] = [
    (PAPER, RGBColor(0x17, 0x1b, 0x21)),
    (BAND, RGBColor(0x1f, 0x24, 0x2c)),
    (GRID, RGBColor(0x2d, 0x34, 0x3e)),
    (FRAME, RGBColor(0x7a, 0x82, 0x8d)),
    (INK, RGBColor(0xe4, 0xe7, 0xeb)),
    (MUTED, RGBColor(0xa3, 0xab, 0xb6)),
    (OTHER, RGBColor(0x4e, 0x56, 0x61)),
];

/// What takes the place of the colours of [`SERIES`] there: the same hues, light enough.
const DARK_SERIES: [RGBColor; SERIES.len()] = [
    RGBColor(0x3d, 0x94, 0xe0),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x1f, 0xb8, 0x8a),
    RGBColor(0xd6, 0x8b, 0xb5),
    RGBColor(0xe8, 0x70, 0x2a),
    RGBColor(0x8f, 0xd3, 0xff),
    RGBColor(0xf2, 0xf2, 0xf2),
    RGBColor(0xb5, 0xa8, 0x2b),
];

/// Each colour that a figure may have, and the one that takes its place on a dark page.
pub(crate) fn dark_pairs() -> impl Iterator<Item = (RGBColor, RGBColor)> {
    DARK_GREYS.into_iter().chain(SERIES.map(|mark| mark.colour).into_iter().zip(DARK_SERIES))
}

/// The mark of data without a series.
pub(crate) const SPECK: Mark = Mark { colour: OTHER, shape: Shape::Speck };

/// `number` with its digits in groups of three.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG's relative luminance.
    fn luminance(colour: RGBColor) -> f64 {
        let linear = |byte: u8| {
            let c = f64::from(byte) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(colour.0) + 0.7152 * linear(colour.1) + 0.0722 * linear(colour.2)
    }

    fn contrast(a: RGBColor, b: RGBColor) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_series_has_its_own_colour_and_its_own_shape() {
        for (index, a) in SERIES.iter().enumerate() {
            for b in SERIES.iter().skip(index + 1).chain([&SPECK]) {
                assert_ne!(a.colour, b.colour);
                assert_ne!(a.shape, b.shape);
            }
        }
    }

    #[test]
    fn marks_and_text_stand_out_from_paper_and_band() {
        for ground in [PAPER, BAND] {
            assert!(contrast(INK, ground) > 12.0);
            assert!(contrast(MUTED, ground) > 5.5);
            for mark in SERIES {
                assert!(contrast(mark.colour, ground) > 2.0, "{mark:?}");
                assert!(contrast(mark.colour, ground) > contrast(OTHER, ground), "{mark:?}");
            }
        }
    }

    #[test]
    fn on_a_dark_page_all_stands_out_as_well() {
        let dark: Vec<RGBColor> = dark_pairs().map(|(_, dark)| dark).collect();
        let of = |light: RGBColor| dark_pairs().find(|pair| pair.0 == light).unwrap().1;
        let [ink, muted, frame, other] = [INK, MUTED, FRAME, OTHER].map(of);
        for ground in [PAPER, BAND].map(of) {
            assert!(contrast(ink, ground) > 12.0);
            assert!(contrast(muted, ground) > 5.5);
            assert!(contrast(frame, ground) > 3.0);
            for colour in SERIES.map(|mark| of(mark.colour)) {
                assert!(contrast(colour, ground) > 4.5, "{colour:?}");
                assert!(contrast(colour, ground) > contrast(other, ground), "{colour:?}");
            }
        }
        for (index, colour) in dark.iter().enumerate() {
            assert!(!dark[index + 1..].contains(colour), "{colour:?} twice");
        }
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
