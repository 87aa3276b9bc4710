//! Published measurements, as rows of a table of comma-separated values.

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

/// Why a table cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct RowError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// The rows of a table; `file` is its name, for errors.
///
/// # Errors
/// When columns, quotes or numbers are not as they have to be.
pub fn parse(file: &str, text: &str) -> Result<Vec<Row>, RowError> {
    let error = |line, what: String| RowError { file: file.to_owned(), line, what };
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let head = lines.next().map_or("", |(_, line)| line);
    if head != COLUMNS.join(",") {
        return Err(error(1, format!("the columns are not {}", COLUMNS.join(","))));
    }
    let row = |(line, text)| {
        let fields = fields(text).map_err(|what| error(line, what.to_owned()))?;
        let count = fields.len();
        let [source, figure, hardware, op, x_name, x, y_name, y, unit, _]: [String; 10] = fields
            .try_into()
            .map_err(|_| error(line, format!("{count} fields instead of {}", COLUMNS.len())))?;
        let number = y.parse().ok().filter(|y: &f64| y.is_finite() && *y > 0.0);
        let y = number.ok_or_else(|| error(line, format!("y = `{y}` is no number above 0")))?;
        Ok(Row { line, source, figure, hardware, op, x_name, x, y_name, y, unit })
    };
    lines.filter(|(_, line)| !line.is_empty()).map(row).collect()
}

/// The fields of a line; those with commas are in quotes, and quotes in them are doubled.
fn fields(line: &str) -> Result<Vec<String>, &'static str> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields[last].push('"');
            }
            '"' if quoted => {
                quoted = false;
                if chars.peek().is_some_and(|&next| next != ',') {
                    return Err("something follows a closing quote");
                }
            }
            '"' if fields[last].is_empty() => quoted = true,
            ',' if !quoted => fields.push(String::new()),
            _ => fields[last].push(c),
        }
    }
    if quoted { Err("a quote is not closed") } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, fields, parse};

    #[test]
    fn quotes_hold_commas_and_quotes() {
        assert_eq!(fields(r#"a,"b, ""c""",,d"#).unwrap(), ["a", "b, \"c\"", "", "d"]);
        assert!(fields(r#"a,"b"#).is_err());
        assert!(fields(r#""a"b"#).is_err());
    }

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
