//! A page to draw on: the few primitives the figures need, in pixels, over any plotters backend.

use plotters::coord::Shift;
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::{DrawingArea, DrawingBackend, IntoDrawingArea, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, TextStyle};

use crate::error::PlotError;
use crate::style::{self, Mark, Shape};

/// plotters' text sizes are this much larger than the font size that its SVG names.
const PLOTTERS_TEXT: f64 = 1.24;

/// How a text looks and hangs on its point.
#[derive(Clone, Copy)]
pub(crate) struct Type {
    height: f64,
    colour: RGBColor,
    family: FontFamily<'static>,
    style: FontStyle,
    hang: HPos,
    turned: bool,
}

impl Type {
    /// Text of this height that begins at its point, vertically centred on it.
    pub(crate) fn new(height: f64) -> Self {
        let (family, style) = (FontFamily::SansSerif, FontStyle::Normal);
        Self { height, colour: style::INK, family, style, hang: HPos::Left, turned: false }
    }

    /// In another colour.
    pub(crate) fn colour(self, colour: RGBColor) -> Self {
        Self { colour, ..self }
    }

    /// Bold.
    pub(crate) fn bold(self) -> Self {
        Self { style: FontStyle::Bold, ..self }
    }

    /// With all characters of one width.
    pub(crate) fn mono(self) -> Self {
        Self { family: FontFamily::Monospace, ..self }
    }

    /// Ends at its point.
    pub(crate) fn end(self) -> Self {
        Self { hang: HPos::Right, ..self }
    }

    /// Is centred on its point.
    pub(crate) fn middle(self) -> Self {
        Self { hang: HPos::Center, ..self }
    }

    /// Reads upwards.
    pub(crate) fn turned(self) -> Self {
        Self { turned: true, ..self }
    }
}

/// A page.
pub(crate) struct Canvas<DB: DrawingBackend> {
    area: DrawingArea<DB, Shift>,
}

/// Calls `draw` with an empty page of [`style::WIDTH`] by `height`, and returns it as SVG.
pub(crate) fn svg(
    height: i32,
    draw: impl FnOnce(&Canvas<SVGBackend<'_>>) -> Result<(), PlotError>,
) -> Result<String, PlotError> {
    let size = (style::WIDTH.unsigned_abs(), height.unsigned_abs());
    let mut out = String::new();
    {
        let canvas = Canvas { area: SVGBackend::with_string(&mut out, size).into_drawing_area() };
        canvas.area.fill(&style::PAPER).map_err(failed)?;
        draw(&canvas)?;
        canvas.area.present().map_err(failed)?;
    }
    Ok(out)
}

fn failed(error: impl std::fmt::Display) -> PlotError {
    PlotError::Draw(error.to_string())
}

/// `text` without what XML cannot hold, not even escaped. Keys come from captures: any byte can
/// be in them.
fn clean(text: &str) -> String {
    let allowed = |c: char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if allowed(c) { c } else { '\u{fffd}' }).collect()
}

impl<DB: DrawingBackend> Canvas<DB> {
    /// A filled rectangle.
    pub(crate) fn fill(
        &self,
        corner: (i32, i32),
        size: (i32, i32),
        colour: RGBColor,
    ) -> Result<(), PlotError> {
        let corners = [corner, (corner.0 + size.0, corner.1 + size.1)];
        self.area.draw(&Rectangle::new(corners, colour.filled())).map_err(failed)
    }

    /// The outline of a rectangle.
    pub(crate) fn outline(
        &self,
        corner: (i32, i32),
        size: (i32, i32),
        colour: RGBColor,
    ) -> Result<(), PlotError> {
        let corners = [corner, (corner.0 + size.0, corner.1 + size.1)];
        self.area.draw(&Rectangle::new(corners, colour.stroke_width(1))).map_err(failed)
    }

    /// A line through points.
    pub(crate) fn line(
        &self,
        points: &[(i32, i32)],
        colour: RGBColor,
        width: u32,
    ) -> Result<(), PlotError> {
        let style = colour.stroke_width(width);
        self.area.draw(&PathElement::new(points.to_vec(), style)).map_err(failed)
    }

    /// A text at a point.
    pub(crate) fn text(&self, text: &str, at: (i32, i32), look: Type) -> Result<(), PlotError> {
        let font = FontDesc::new(look.family, look.height * PLOTTERS_TEXT, look.style);
        let turn = if look.turned { FontTransform::Rotate270 } else { FontTransform::None };
        let style = TextStyle::from(font.transform(turn))
            .color(&look.colour)
            .pos(Pos::new(look.hang, VPos::Center));
        self.area.draw(&Text::new(clean(text), at, style)).map_err(failed)
    }

    /// A mark centred on a point. Each is one element of SVG, of at most 130 bytes.
    pub(crate) fn mark(&self, mark: Mark, (x, y): (i32, i32)) -> Result<(), PlotError> {
        let colour = mark.colour;
        let polygon = |points: &[(i32, i32)]| {
            self.area.draw(&Polygon::new(points.to_vec(), colour.filled())).map_err(failed)
        };
        let circle = |radius: i32, style| {
            self.area.draw(&Circle::new((x, y), radius, style)).map_err(failed)
        };
        match mark.shape {
            Shape::Disc => circle(4, colour.filled()),
            Shape::Ring => circle(3, colour.stroke_width(2)),
            Shape::Speck => circle(2, colour.filled()),
            Shape::Square => self.fill((x - 3, y - 3), (7, 7), colour),
            Shape::Up => polygon(&[(x - 4, y + 3), (x, y - 5), (x + 4, y + 3)]),
            Shape::Down => polygon(&[(x - 4, y - 3), (x, y + 5), (x + 4, y - 3)]),
            Shape::Diamond => polygon(&[(x - 5, y), (x, y - 5), (x + 5, y), (x, y + 5)]),
            // One line that passes the centre twice: half the bytes of two.
            Shape::Plus => {
                self.line(&[(x - 4, y), (x + 4, y), (x, y), (x, y - 4), (x, y + 4)], colour, 2)
            }
            Shape::Cross => {
                let (back, slash) =
                    ([(x - 3, y - 3), (x + 3, y + 3)], [(x + 3, y - 3), (x - 3, y + 3)]);
                self.line(&[back[0], back[1], (x, y), slash[0], slash[1]], colour, 2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_one_short_element() {
        let blank = svg(999, |_| Ok(())).unwrap();
        for mark in style::SERIES.into_iter().chain([style::SPECK]) {
            let with = svg(999, |canvas| canvas.mark(mark, (888, 888))).unwrap();
            assert!(with.len() - blank.len() <= 130, "{mark:?}: {}", with.len() - blank.len());
            assert_eq!(with.matches("/>").count(), blank.matches("/>").count() + 1, "{mark:?}");
        }
    }

    #[test]
    fn shapes_differ_without_colour() {
        let mut seen = Vec::new();
        for mark in style::SERIES.into_iter().chain([style::SPECK]) {
            let grey = Mark { colour: style::OTHER, ..mark };
            let text = svg(99, |canvas| canvas.mark(grey, (50, 50))).unwrap();
            assert!(!seen.contains(&text), "{mark:?}");
            seen.push(text);
        }
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(clean("a\0b\u{1b}c\u{ffff}\n"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}");
        let text = svg(99, |canvas| canvas.text("<&\"'>", (1, 1), Type::new(10.0))).unwrap();
        assert!(text.contains("&lt;&amp;&quot;&apos;&gt;"), "{text}");
    }

    #[test]
    fn only_generic_fonts_and_plain_sizes() {
        for height in [style::TITLE, style::HEADING, style::BODY, style::SMALL] {
            let look = Type::new(height);
            let text = svg(99, |canvas| {
                canvas.text("a", (1, 1), look)?;
                canvas.text("b", (1, 1), look.mono())
            });
            let text = text.unwrap();
            for family in ["sans-serif", "monospace"] {
                let font = format!("font-family=\"{family}\" font-size=\"{height}\"");
                assert!(text.contains(&font), "{text}");
            }
        }
    }
}
