//! The font that figures carry: how wide a text is, and its dots.
//!
//! It is DejaVu Sans. Of the fonts that viewers take for `sans-serif` it is one of the widest, so
//! that what has room in it has room in theirs.

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};

use crate::error::PlotError;

/// Width of the narrowest letters, as a share of the letters' height.
const NARROWEST: f64 = 0.27;

/// DejaVu Sans, upright, in its two weights.
pub(crate) struct Fonts {
    regular: FontRef<'static>,
    bold: FontRef<'static>,
}

impl Fonts {
    /// Reads the font, which is part of the program.
    pub(crate) fn new() -> Result<Self, PlotError> {
        let font = |bytes| {
            FontRef::try_from_slice(bytes).map_err(|error| PlotError::Draw(error.to_string()))
        };
        Ok(Self { regular: font(dejavu::sans::regular())?, bold: font(dejavu::sans::bold())? })
    }

    fn of(&self, bold: bool) -> &FontRef<'static> {
        if bold { &self.bold } else { &self.regular }
    }

    /// Width of `text` in pixels, in letters of this height.
    pub(crate) fn width(&self, text: &str, height: f64, bold: bool) -> f64 {
        f64::from(self.place(text, height, bold).1)
    }

    /// The glyphs of a text that begins at 0, and where it ends.
    fn place(&self, text: &str, height: f64, bold: bool) -> (Vec<Glyph>, f32) {
        let font = self.of(bold);
        let em = font.units_per_em().unwrap_or(1_000.0);
        let scale = PxScale::from(height as f32 * font.height_unscaled() / em);
        let scaled = font.as_scaled(scale);
        let (mut glyphs, mut at, mut last) = (Vec::new(), 0.0, None);
        for c in text.chars() {
            let id = font.glyph_id(c);
            at += last.map_or(0.0, |last| scaled.kern(last, id));
            glyphs.push(id.with_scale_and_position(scale, point(at, 0.0)));
            at += scaled.h_advance(id);
            last = Some(id);
        }
        (glyphs, at)
    }

    /// `text` shortened in its middle to fit `width`: labels often differ only at their ends.
    pub(crate) fn fit(&self, text: &str, height: f64, bold: bool, width: f64) -> String {
        // Keeps a label of megabytes from being measured again and again.
        let most = (width / (NARROWEST * height)) as usize;
        if text.chars().nth(most).is_none() && self.width(text, height, bold) <= width {
            return text.to_owned();
        }
        let chars: Vec<char> = text.chars().take(most + 1).collect();
        let tail: Vec<char> = text.chars().rev().take(most + 1).collect();
        for keep in (0..=most).rev() {
            let front = chars.iter().take(keep.div_ceil(2));
            let back = tail.iter().take(keep / 2).rev();
            let short: String = front.chain(std::iter::once(&'…')).chain(back).collect();
            if self.width(&short, height, bold) <= width {
                return short;
            }
        }
        String::new()
    }

    /// `text` in lines of at most `width`; a word that is wider is shortened.
    pub(crate) fn wrap(&self, text: &str, height: f64, width: f64) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            let word = self.fit(word, height, false, width);
            match lines.last_mut() {
                Some(line) if self.width(&format!("{line} {word}"), height, false) <= width => {
                    line.push(' ');
                    line.push_str(&word);
                }
                _ => lines.push(word),
            }
        }
        lines
    }

    /// Calls `dot` for each pixel of the text with how far right and down of the text's begin it
    /// is, and how much of it is covered, from 0 to 1. Small letters are centred on height 0.
    pub(crate) fn draw(
        &self,
        text: &str,
        height: f64,
        bold: bool,
        mut dot: impl FnMut((i32, i32), f32) -> Result<(), PlotError>,
    ) -> Result<(), PlotError> {
        // As SVG has it: half an ex below the centre, and an ex of this font is 0.547 of its size.
        let base = (height * 0.547 / 2.0).round() as i32;
        let mut result = Ok(());
        for glyph in self.place(text, height, bold).0 {
            let Some(outline) = self.of(bold).outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            let corner = (bounds.min.x.round() as i32, bounds.min.y.round() as i32 + base);
            outline.draw(|x, y, cover| {
                if result.is_ok() && cover > 0.0 {
                    result = dot((corner.0 + x as i32, corner.1 + y as i32), cover.min(1.0));
                }
            });
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_grow_with_text_and_size() {
        let fonts = Fonts::new().unwrap();
        let width = |text| fonts.width(text, 10.0, false);
        assert_eq!(width(""), 0.0);
        assert!(width("ii") < width("mm") && width("ii") > width("i"));
        assert!(fonts.width("abc", 10.0, true) > width("abc"));
        assert!((fonts.width("abc", 20.0, false) - 2.0 * width("abc")).abs() < 0.01);
    }

    #[test]
    fn dots_lie_within_the_width_and_around_the_centre() {
        let fonts = Fonts::new().unwrap();
        let mut dots = Vec::new();
        let text = "xax";
        let mut keep = |at, _| {
            dots.push(at);
            Ok(())
        };
        fonts.draw(text, 40.0, false, &mut keep).unwrap();
        let width = fonts.width(text, 40.0, false) as i32;
        assert!(dots.iter().all(|&(right, down)| (0..=width).contains(&right) && down.abs() < 14));
        assert!(dots.iter().any(|&(_, down)| down < -8) && dots.iter().any(|&(_, down)| down > 8));
    }

    #[test]
    fn long_labels_are_shortened_in_the_middle() {
        let fonts = Fonts::new().unwrap();
        let fit = |text: &str, width| fonts.fit(text, 10.0, false, width);
        assert_eq!(fit("0x000011", 60.0), "0x000011");
        assert_eq!(fit("user0000000001", 60.0), "user…0001");
        assert_eq!(fit("user0000000001", 1.0), "");
        assert_eq!(fit("", 0.0), "");
        let wide = fit(&"鍵".repeat(1_000_000), 60.0);
        assert!(fonts.width(&wide, 10.0, false) <= 60.0 && wide.contains('…'));
    }

    #[test]
    fn sentences_break_between_words() {
        let fonts = Fonts::new().unwrap();
        assert_eq!(fonts.wrap("one two  three", 10.0, 50.0), ["one two", "three"]);
        assert_eq!(fonts.wrap("", 10.0, 50.0), [""; 0]);
    }
}
