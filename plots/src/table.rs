//! Tables of comma-separated values: the rows of experiments, and any with fixed columns.

pub use csv::StringRecord;
use csv::{ReaderBuilder, WriterBuilder};

/// The columns of an experiment's file, in their order; one row is one number.
pub const COLUMNS: [&str; 8] =
    ["experiment", "series", "x_name", "x", "y_name", "y", "unit", "source"];
/// The columns that may follow: the ends of the number's error bar.
pub const BAR_COLUMNS: [&str; 2] = ["low", "high"];

/// A number of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The file it is from.
    pub file: String,
    /// Its line there, from 1.
    pub line: usize,
    /// To what it belongs: all of one experiment make one figure.
    pub experiment: String,
    /// To which of its series.
    pub series: String,
    /// What was varied.
    pub x_name: String,
    /// To which value, which may be a word.
    pub x: String,
    /// What was measured.
    pub y_name: String,
    /// The value.
    pub y: f64,
    /// Its unit; empty where it has none.
    pub unit: String,
    /// Where the number is from; may be empty.
    pub source: String,
    /// The ends of its error bar, if it has one.
    pub bar: Option<(f64, f64)>,
}

/// Why a table cannot be read or drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct TableError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there, and what to do.
    pub what: String,
}

impl TableError {
    /// What is wrong in a line of a file.
    #[must_use]
    pub fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into() }
    }
}

/// The fields of each row of a table, with their line from 1; `file` is its name, for errors.
/// `optional` columns are all there, or none; rows then have as many empty fields.
///
/// # Errors
/// When the columns are others, or a row has not a field for each, or a quote is not closed.
pub fn records(
    file: &str,
    text: &str,
    columns: &[&str],
    optional: &[&str],
) -> Result<Vec<(usize, StringRecord)>, TableError> {
    let mut reader =
        ReaderBuilder::new().flexible(true).has_headers(false).from_reader(text.as_bytes());
    let mut records = Vec::new();
    let mut count = columns.len();
    for (index, record) in reader.records().enumerate() {
        let wrong = |error: csv::Error| TableError::new(file, index + 1, error.to_string());
        let mut record = record.map_err(wrong)?;
        let line = record.position().map_or(index + 1, |at| at.line() as usize);
        if index == 0 {
            count = header(&record, columns, optional)
                .map_err(|what| TableError::new(file, line, what))?;
            continue;
        }
        // A quote that is not closed takes all lines behind it into one field.
        if record.iter().any(|field| field.contains(['\n', '\r'])) {
            return Err(TableError::new(file, line, "a quote is not closed in its line"));
        }
        if record.len() != count {
            let what = format!("{} fields instead of {count}", record.len());
            return Err(TableError::new(file, line, what));
        }
        (count..columns.len() + optional.len()).for_each(|_| record.push_field(""));
        records.push((line, record));
    }
    match reader.position().byte() {
        0 => Err(TableError::new(file, 1, "the file is empty")),
        _ => Ok(records),
    }
}

/// How many columns a table has.
fn header(found: &StringRecord, columns: &[&str], optional: &[&str]) -> Result<usize, String> {
    let longer = [columns, optional].concat();
    if found == columns || found == longer {
        return Ok(found.len());
    }
    let more = match optional {
        [] => String::new(),
        optional => format!(", with or without {} behind them", optional.join(",")),
    };
    Err(format!("the columns are not {}{more}", columns.join(",")))
}

/// The rows of an experiment's file; `file` is its name, for errors.
///
/// # Errors
/// When columns, quotes or numbers are not as they have to be.
pub fn parse(file: &str, text: &str) -> Result<Vec<Row>, TableError> {
    let records = records(file, text, &COLUMNS, &BAR_COLUMNS)?;
    let row = |(line, record)| {
        parse_row(file, line, &record).map_err(|what| TableError::new(file, line, what))
    };
    records.into_iter().map(row).collect()
}

fn parse_row(file: &str, line: usize, record: &StringRecord) -> Result<Row, String> {
    let text = |index: usize| record.get(index).unwrap_or("").to_owned();
    let number = |name: &str, index| {
        let text = text(index);
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| format!("{name} is `{text}`; write a number there"))
    };
    for (index, name) in COLUMNS.iter().enumerate().take(5) {
        if text(index).is_empty() {
            return Err(format!("{name} is empty; only unit and source may be"));
        }
    }
    let bar = match (text(8).as_str(), text(9).as_str()) {
        ("", "") => None,
        _ => Some((number("low", 8)?, number("high", 9)?)),
    };
    let y = number("y", 5)?;
    if bar.is_some_and(|(low, high)| low > y || y > high) {
        return Err(format!("y is {y}, which is not between low and high"));
    }
    Ok(Row {
        file: file.to_owned(),
        line,
        experiment: text(0),
        series: text(1),
        x_name: text(2),
        x: text(3),
        y_name: text(4),
        y,
        unit: text(6),
        source: text(7),
        bar,
    })
}

/// The file of these rows, with columns for error bars if a row has one; [`parse`] reads it.
#[must_use]
pub fn render(rows: &[Row]) -> String {
    let bars = rows.iter().any(|row| row.bar.is_some());
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    let mut write = |fields: &[&str]| {
        let kept = if bars { fields } else { &fields[..COLUMNS.len()] };
        writer.write_record(kept).expect("memory takes all that is written");
    };
    write(&[&COLUMNS[..], &BAR_COLUMNS].concat());
    for row in rows {
        let end = |end: Option<f64>| end.map_or(String::new(), |end| end.to_string());
        write(&[
            &row.experiment,
            &row.series,
            &row.x_name,
            &row.x,
            &row.y_name,
            &row.y.to_string(),
            &row.unit,
            &row.source,
            &end(row.bar.map(|bar| bar.0)),
            &end(row.bar.map(|bar| bar.1)),
        ]);
    }
    let bytes = writer.into_inner().expect("memory takes all that is written");
    String::from_utf8(bytes).expect("text with commas and quotes is text")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "experiment,series,x_name,x,y_name,y,unit,source";

    fn about(head: &str, row: &str) -> Result<usize, String> {
        let text = format!("{head}\n{row}\n");
        parse("some.csv", &text).map(|rows| rows.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn errors_name_file_line_and_field() {
        assert_eq!(about(HEAD, "e,s,n,1,m,2.5,us,"), Ok(1));
        assert_eq!(about(HEAD, ""), Ok(0));
        assert_eq!(about(HEAD, "a,b").unwrap_err(), "some.csv:2: 2 fields instead of 8");
        let error = about(HEAD, "e,s,n,1,m,fast,us,").unwrap_err();
        assert_eq!(error, "some.csv:2: y is `fast`; write a number there");
        assert!(about(HEAD, "e,s,n,1,m,NaN,us,").unwrap_err().contains("y is `NaN`"));
        assert!(about(HEAD, "e,,n,1,m,2,us,").unwrap_err().contains(":2: series is empty"));
        assert!(about("x,y", "1,2").unwrap_err().starts_with("some.csv:1: the columns are not"));
        assert_eq!(parse("some.csv", "").unwrap_err().to_string(), "some.csv:1: the file is empty");
        let open = about(HEAD, "e,s,n,1,m,2,us,\"source\ne,s,n,2,m,2,us,").unwrap_err();
        assert_eq!(open, "some.csv:2: a quote is not closed in its line");
    }

    #[test]
    fn error_bars_are_around_the_number() {
        let head = format!("{HEAD},low,high");
        assert_eq!(about(&head, "e,s,n,1,m,2,us,,1,3"), Ok(1));
        assert_eq!(about(&head, "e,s,n,1,m,2,us,,,"), Ok(1));
        assert!(about(&head, "e,s,n,1,m,2,us,,1,").unwrap_err().contains("high is ``"));
        assert!(about(&head, "e,s,n,1,m,4,us,,1,3").unwrap_err().contains("not between"));
    }

    #[test]
    fn what_is_written_is_read() {
        let text = format!("{HEAD},low,high\ne,\"a, \"\"b\"\"\",n,word,m,0.1,,s,0.05,0.25\n");
        let rows = parse("some.csv", &text).unwrap();
        assert_eq!(rows[0].series, "a, \"b\"");
        assert_eq!(render(&rows), text);
        let plain = format!("{HEAD}\ne,s,n,1,m,2.5,us,\n");
        assert_eq!(render(&parse("some.csv", &plain).unwrap()), plain);
    }
}
