//! Published measurements, as rows of a table of comma-separated values.

use qpmux_plots::table::{self, StringRecord, TableError};

/// What the columns are called, in their order.
const COLUMNS: [&str; 10] =
    ["source", "figure", "hardware", "op", "x_name", "x", "y_name", "y", "unit", "how_read"];

/// One published number.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its line in the file, from 1.
    pub line: usize,
    /// Who measured, and behind the first colon where it stands.
    pub source: String,
    /// Figure or table.
    pub figure: String,
    /// Adapter and machines.
    pub hardware: String,
    /// What was done.
    pub op: String,
    /// What was varied.
    pub x_name: String,
    /// To which value, which may be a word.
    pub x: String,
    /// What was measured.
    pub y_name: String,
    /// The value.
    pub y: f64,
    /// Its unit.
    pub unit: String,
}

impl Row {
    /// Who measured, in short.
    #[must_use]
    pub fn group(&self) -> &str {
        self.source.split_once(": ").map_or(&self.source, |(group, _)| group)
    }

    /// What this point shares with the others of its curve.
    #[must_use]
    pub fn series(&self) -> String {
        [self.figure.as_str(), &self.op, &self.y_name, &self.hardware].join("; ")
    }
}

/// The rows of a table; `file` is its name, for errors.
///
/// # Errors
/// When columns, quotes or numbers are not as they have to be.
pub fn parse(file: &str, text: &str) -> Result<Vec<Row>, TableError> {
    let row = |(line, record): (usize, StringRecord)| {
        let [source, figure, hardware, op, x_name, x, y_name, y, unit] =
            std::array::from_fn(|column| record.get(column).unwrap_or("").to_owned());
        let number = y.parse().ok().filter(|y: &f64| y.is_finite() && *y > 0.0);
        let wrong = || TableError::new(file, line, format!("y = `{y}` is no number above 0"));
        let y = number.ok_or_else(wrong)?;
        Ok(Row { line, source, figure, hardware, op, x_name, x, y_name, y, unit })
    };
    table::records(file, text, &COLUMNS, &[])?.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, parse};

    #[test]
    fn errors_name_file_and_line() {
        let about = |row: &str| {
            let text = format!("{}\nA: b,f,h,o,x,1,y,2.5,us,text\n{row}\n", COLUMNS.join(","));
            parse("some.csv", &text).map(|rows| rows.len()).map_err(|error| error.to_string())
        };
        assert_eq!(about(""), Ok(1));
        assert_eq!(about("a,b").unwrap_err(), "some.csv:3: 2 fields instead of 10");
        let error = about("A: b,f,h,o,x,1,y,fast,us,text").unwrap_err();
        assert_eq!(error, "some.csv:3: y = `fast` is no number above 0");
        assert!(parse("some.csv", "x,y\n").unwrap_err().to_string().starts_with("some.csv:1: "));
    }

    #[test]
    fn a_source_is_what_stands_before_the_colon() {
        let text = format!("{}\nA (B 1): c/d,f,h,o,x,1,y,2.5,us,text\n", COLUMNS.join(","));
        let rows = parse("some.csv", &text).unwrap();
        assert_eq!(rows[0].group(), "A (B 1)");
        assert_eq!(rows[0].series(), "f; o; y; h");
    }
}
