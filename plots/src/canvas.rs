//! A page to draw on: the few primitives the figures need, in pixels, over any plotters backend.
//!
//! SVG names the font and its viewer draws the text. PNG has the text drawn here, from the font
//! that [`Fonts`] carries: no font of the machine is ever read.

use plotters::coord::Shift;
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::{BitMapBackend, DrawingArea, DrawingBackend, IntoDrawingArea, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle,
};

use crate::error::PlotError;
use crate::font::Fonts;
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
pub(crate) struct Canvas<'a, DB: DrawingBackend> {
    area: DrawingArea<DB, Shift>,
    /// Pixels of the backend per pixel of the page.
    scale: i32,
    /// Draws the text, where the backend cannot.
    fonts: Option<&'a Fonts>,
}

/// Calls `draw` with an empty page of this width and height, and returns it as SVG.
pub(crate) fn svg(
    size: (i32, i32),
    draw: impl FnOnce(&Canvas<'_, SVGBackend<'_>>) -> Result<(), PlotError>,
) -> Result<String, PlotError> {
    let mut out = String::new();
    {
        let backend = SVGBackend::with_string(&mut out, unsigned(size));
        let canvas = Canvas { area: backend.into_drawing_area(), scale: 1, fonts: None };
        canvas.finish(draw)?;
    }
    Ok(out)
}

/// Each pixel of the page becomes this many of a PNG file, along each side: sharp on dense screens.
pub(crate) const PNG_PIXELS: i32 = 2;
/// Each pixel of a PNG file is the mean of this many, along each side, for smooth edges.
const FINE: i32 = 2;

/// Calls `draw` with an empty page of this width and height, and returns it as a PNG file with
/// [`PNG_PIXELS`] times as many pixels along each side.
pub(crate) fn png(
    size: (i32, i32),
    fonts: &Fonts,
    draw: impl FnOnce(&Canvas<'_, BitMapBackend<'_>>) -> Result<(), PlotError>,
) -> Result<Vec<u8>, PlotError> {
    let scale = PNG_PIXELS * FINE;
    let (width, height) = unsigned((size.0 * scale, size.1 * scale));
    let mut pixels = vec![0xff; width as usize * height as usize * 3];
    {
        let backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
        let canvas = Canvas { area: backend.into_drawing_area(), scale, fonts: Some(fonts) };
        canvas.finish(draw)?;
    }
    let (width, height) = unsigned((size.0 * PNG_PIXELS, size.1 * PNG_PIXELS));
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&coarser(&pixels, width as usize)).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(out)
}

/// A picture of RGB pixels, `width` of them in a row, each the mean of [`FINE`] by [`FINE`] of
/// `pixels`.
fn coarser(pixels: &[u8], width: usize) -> Vec<u8> {
    let fine = FINE as usize;
    let row = width * fine * 3;
    let mut out = Vec::with_capacity(pixels.len() / (fine * fine));
    for rows in pixels.chunks_exact(row * fine) {
        for at in (0..row).step_by(fine * 3) {
            for channel in 0..3 {
                let cell = (0..fine * fine).map(|index| {
                    let (down, right) = (index / fine, index % fine);
                    usize::from(rows[down * row + at + right * 3 + channel])
                });
                out.push((cell.sum::<usize>() / (fine * fine)) as u8);
            }
        }
    }
    out
}

fn unsigned((width, height): (i32, i32)) -> (u32, u32) {
    (width.unsigned_abs(), height.unsigned_abs())
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

impl<DB: DrawingBackend> Canvas<'_, DB> {
    /// Lets the background be drawn, then what is on it.
    fn finish(self, draw: impl FnOnce(&Self) -> Result<(), PlotError>) -> Result<(), PlotError> {
        self.area.fill(&style::PAPER).map_err(failed)?;
        draw(&self)?;
        self.area.present().map_err(failed)
    }

    fn scaled(&self, (x, y): (i32, i32)) -> (i32, i32) {
        (x * self.scale, y * self.scale)
    }

    /// A filled rectangle.
    pub(crate) fn fill(
        &self,
        corner: (i32, i32),
        size: (i32, i32),
        colour: RGBColor,
    ) -> Result<(), PlotError> {
        let corners = [corner, (corner.0 + size.0, corner.1 + size.1)].map(|at| self.scaled(at));
        self.area.draw(&Rectangle::new(corners, colour.filled())).map_err(failed)
    }

    /// The outline of a rectangle.
    pub(crate) fn outline(
        &self,
        corner: (i32, i32),
        size: (i32, i32),
        colour: RGBColor,
    ) -> Result<(), PlotError> {
        let corners = [corner, (corner.0 + size.0, corner.1 + size.1)].map(|at| self.scaled(at));
        self.area.draw(&Rectangle::new(corners, self.stroke(colour, 1))).map_err(failed)
    }

    /// A line through points.
    pub(crate) fn line(
        &self,
        points: &[(i32, i32)],
        colour: RGBColor,
        width: u32,
    ) -> Result<(), PlotError> {
        let style = self.stroke(colour, width);
        let points: Vec<_> = points.iter().map(|&at| self.scaled(at)).collect();
        if self.scale == 1 {
            return self.area.draw(&PathElement::new(points, style)).map_err(failed);
        }
        // The bitmap's own lines lose their corners where they close or turn back: draw it piece
        // by piece, with round corners.
        for pair in points.windows(2).filter(|pair| pair[0] != pair[1]) {
            self.area.draw(&PathElement::new(pair.to_vec(), style)).map_err(failed)?;
        }
        let radius = style.stroke_width / 2;
        let corners = points.iter().skip(1).take(points.len().saturating_sub(2));
        for &corner in corners {
            self.area.draw(&Circle::new(corner, radius, colour.filled())).map_err(failed)?;
        }
        Ok(())
    }

    /// A line of dashes through points, one pixel wide.
    pub(crate) fn dashed(
        &self,
        points: &[(i32, i32)],
        colour: RGBColor,
        (dash, gap): (f64, f64),
    ) -> Result<(), PlotError> {
        let (scale, style) = (f64::from(self.scale), self.stroke(colour, 1));
        let (dash, period) = (dash * scale, (dash + gap) * scale);
        // How far into a dash and its gap the line is, across its corners.
        let mut phase = 0.0;
        for pair in points.windows(2) {
            let [from, to] = [pair[0], pair[1]].map(|at| self.scaled(at));
            let (right, down) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
            let length = (right * right + down * down).sqrt();
            let place = |at: f64| {
                let share = at.clamp(0.0, length) / length;
                let along = |whole: f64| (whole * share).round() as i32;
                (from.0 + along(right), from.1 + along(down))
            };
            let mut start = -phase;
            while start < length {
                if start + dash > 0.0 {
                    let piece = vec![place(start), place(start + dash)];
                    self.area.draw(&PathElement::new(piece, style)).map_err(failed)?;
                }
                start += period;
            }
            phase = period - (start - length);
        }
        Ok(())
    }

    /// A filled polygon.
    pub(crate) fn polygon(&self, points: &[(i32, i32)], colour: RGBColor) -> Result<(), PlotError> {
        let points: Vec<_> = points.iter().map(|&at| self.scaled(at)).collect();
        self.area.draw(&Polygon::new(points, colour.filled())).map_err(failed)
    }

    /// A circle: filled, or a line of this width.
    pub(crate) fn circle(
        &self,
        centre: (i32, i32),
        radius: i32,
        colour: RGBColor,
        width: Option<u32>,
    ) -> Result<(), PlotError> {
        let style = width.map_or(colour.filled(), |width| self.stroke(colour, width));
        let circle = Circle::new(self.scaled(centre), radius * self.scale, style);
        self.area.draw(&circle).map_err(failed)
    }

    fn stroke(&self, colour: RGBColor, width: u32) -> ShapeStyle {
        colour.stroke_width(width * self.scale.unsigned_abs())
    }

    /// A text at a point.
    pub(crate) fn text(&self, text: &str, at: (i32, i32), look: Type) -> Result<(), PlotError> {
        match self.fonts {
            None => self.named_text(&clean(text), at, look),
            Some(fonts) => self.drawn_text(&clean(text), at, look, fonts),
        }
    }

    /// A text that the viewer draws.
    fn named_text(&self, text: &str, at: (i32, i32), look: Type) -> Result<(), PlotError> {
        let font = FontDesc::new(look.family, look.height * PLOTTERS_TEXT, look.style);
        let turn = if look.turned { FontTransform::Rotate270 } else { FontTransform::None };
        let style = TextStyle::from(font.transform(turn))
            .color(&look.colour)
            .pos(Pos::new(look.hang, VPos::Center));
        self.area.draw(&Text::new(text, self.scaled(at), style)).map_err(failed)
    }

    /// A text drawn here, dot by dot.
    fn drawn_text(
        &self,
        text: &str,
        at: (i32, i32),
        look: Type,
        fonts: &Fonts,
    ) -> Result<(), PlotError> {
        let at = self.scaled(at);
        let height = look.height * f64::from(self.scale);
        let bold = matches!(look.style, FontStyle::Bold);
        let width = fonts.width(text, height, bold);
        let start = match look.hang {
            HPos::Left => 0.0,
            HPos::Center => -width / 2.0,
            HPos::Right => -width,
        };
        fonts.draw(text, height, bold, |(right, down), cover| {
            let right = right + start.round() as i32;
            let (x, y) = if look.turned { (down, -right) } else { (right, down) };
            let colour = look.colour.mix(f64::from(cover));
            self.area.draw_pixel((at.0 + x, at.1 + y), &colour).map_err(failed)
        })
    }

    /// A mark centred on a point. Each is one element of SVG, of at most 130 bytes.
    pub(crate) fn mark(&self, mark: Mark, (x, y): (i32, i32)) -> Result<(), PlotError> {
        let colour = mark.colour;
        match mark.shape {
            Shape::Disc => self.circle((x, y), 4, colour, None),
            Shape::Ring => self.circle((x, y), 3, colour, Some(2)),
            Shape::Speck => self.circle((x, y), 2, colour, None),
            Shape::Square => self.fill((x - 3, y - 3), (7, 7), colour),
            Shape::Up => self.polygon(&[(x - 4, y + 3), (x, y - 5), (x + 4, y + 3)], colour),
            Shape::Down => self.polygon(&[(x - 4, y - 3), (x, y + 5), (x + 4, y - 3)], colour),
            Shape::Diamond => {
                self.polygon(&[(x - 5, y), (x, y - 5), (x + 5, y), (x, y + 5)], colour)
            }
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
        let blank = svg((900, 999), |_| Ok(())).unwrap();
        for mark in style::SERIES.into_iter().chain([style::SPECK]) {
            let with = svg((900, 999), |canvas| canvas.mark(mark, (888, 888))).unwrap();
            assert!(with.len() - blank.len() <= 130, "{mark:?}: {}", with.len() - blank.len());
            assert_eq!(with.matches("/>").count(), blank.matches("/>").count() + 1, "{mark:?}");
        }
    }

    #[test]
    fn shapes_differ_without_colour() {
        let mut seen = Vec::new();
        for mark in style::SERIES.into_iter().chain([style::SPECK]) {
            let grey = Mark { colour: style::OTHER, ..mark };
            let text = svg((900, 99), |canvas| canvas.mark(grey, (50, 50))).unwrap();
            assert!(!seen.contains(&text), "{mark:?}");
            seen.push(text);
        }
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(clean("a\0b\u{1b}c\u{ffff}\n"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}");
        let text = svg((900, 99), |canvas| canvas.text("<&\"'>", (1, 1), Type::new(10.0))).unwrap();
        assert!(text.contains("&lt;&amp;&quot;&apos;&gt;"), "{text}");
    }

    #[test]
    fn only_generic_fonts_and_plain_sizes() {
        for height in [style::TITLE, style::HEADING, style::BODY, style::SMALL] {
            let look = Type::new(height);
            let text = svg((900, 99), |canvas| {
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
