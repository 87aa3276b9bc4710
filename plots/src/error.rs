//! What can be wrong with the data of a figure.

/// Why a figure was not drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// There is no row to put a dot on.
    #[error("nothing to draw: there are no server queue pairs")]
    NoRows,
    /// There is no dot on either side.
    #[error("nothing to draw: there are no WRITEs, neither captured nor multiplexed")]
    NoDots,
    /// More keys than there are markers to tell them apart.
    #[error("{count} keys have a label, but only {max} can be told apart; name the most used ones")]
    TooManyKeys {
        /// How many keys have a label.
        count: usize,
        /// How many may have one.
        max: usize,
    },
    /// A time that is not a number, or infinite.
    #[error("{list} dot {dot}: its time is {time_ms} ms, which has no place on an axis")]
    Time {
        /// The list the dot is in.
        list: &'static str,
        /// Its index in that list.
        dot: usize,
        /// Its time.
        time_ms: f64,
    },
    /// A dot on a row that does not exist.
    #[error("{list} dot {dot}: it is on row {row}, but there are {rows} server queue pairs")]
    Row {
        /// The list the dot is in.
        list: &'static str,
        /// Its index in that list.
        dot: usize,
        /// The row it asks for, from 0.
        row: usize,
        /// How many rows there are.
        rows: usize,
    },
    /// A dot of a key that has no label.
    #[error("{list} dot {dot}: it is of key {key}, but {keys} keys have a label")]
    Key {
        /// The list the dot is in.
        list: &'static str,
        /// Its index in that list.
        dot: usize,
        /// The key it asks for, from 0.
        key: usize,
        /// How many keys have a label.
        keys: usize,
    },
    /// First and last time are further apart than a number can say.
    #[error("the times are too far apart: {first_ms} ms to {last_ms} ms")]
    Span {
        /// The earliest time.
        first_ms: f64,
        /// The latest time.
        last_ms: f64,
    },
    /// No series of a chart has a point.
    #[error("nothing to draw: no series has a point")]
    NoPoints,
    /// More panels than a page can hold.
    #[error("the chart has {count} panels, but a page holds {max}; draw several charts")]
    TooManyPanels {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A series beyond those that can be told apart.
    #[error("series `{series}` has slot {slot}, but the last that can be told apart is {max}")]
    Slot {
        /// The series' name.
        series: String,
        /// The slot it asks for, from 0.
        slot: usize,
        /// The last there is.
        max: usize,
    },
    /// A point that has no place.
    #[error("panel `{panel}`, series `{series}`, point {point}: {what}")]
    Point {
        /// The panel's heading.
        panel: String,
        /// The series' name.
        series: String,
        /// The point's index in the series.
        point: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A vertical mark that has no place.
    #[error("panel `{panel}`, mark {mark} (`{text}`): {what}")]
    Mark {
        /// The panel's heading.
        panel: String,
        /// The mark's index in the panel.
        mark: usize,
        /// The mark's text.
        text: String,
        /// What is wrong with it.
        what: String,
    },
    /// Something that cannot be on a page of results.
    #[error("{place}: {what}")]
    Page {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// The drawing library refused.
    #[error("drawing failed: {0}")]
    Draw(String),
}
