//! Published points that no score counts, each with its reason. `plots/reference/README.md` says
//! more of them, and was written before anything was compared.

/// Why a published point is not scored; `None` if it is.
#[must_use]
pub fn exclusion(experiment: &str, series: &str, x: f64) -> Option<&'static str> {
    const FITTED: &str = "used to fit the library and the box";
    match (experiment, series) {
        ("003-uniform-c" | "003-zipf-c", "mapping off") | ("020-5", "clover") => Some(FITTED),
        ("020-5", "mapping") => Some("used to fit the cost of mapping"),
        ("003-uniform-b", "mapping on") if x == 1.0 => Some("a copy of uniform A's number"),
        ("003-uniform-a", _) => Some("below zipf A: other conditions than stated"),
        ("003-zipf-w", _) if x == 16.0 => Some("above A of as many threads: unexplained"),
        ("022", "atomics replaced") => Some("its last point is the cap of one queue pair"),
        ("023", _) if x == 1.0 || x == 7.0 => Some("used to calibrate the adapter"),
        _ => None,
    }
}
