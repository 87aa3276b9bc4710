//! The rules of the house. Each takes text and gives complaints, so that each can be shown to fail.

use crate::source::{code_only, functions, has_word};

/// Longest allowed Rust file, in lines.
const FILE_LINES: usize = 600;
/// Longest allowed function, in lines, from `fn` to the closing brace.
const FUNCTION_LINES: usize = 70;
/// Longest allowed line, in characters.
const COLUMNS: usize = 100;

/// Words that put off work, spelled so that this file does not contain them.
const PUT_OFF: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
];

/// Beginnings of paths that exist on one machine only, spelled likewise.
const MACHINE: [&str; 6] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!("/m", "nt/"),
    concat!("C:", "\\Us", "ers"),
];

/// Folders and files at the top of the repository; a path that begins with one is ours.
const TOP: [&str; 10] =
    ["sim", "engine", "live", "workloads", "traces", "plots", "tests", ".ci", ".cargo", "docs"];

/// Something that breaks a rule, at a line (from 1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) line: usize,
    pub(crate) what: String,
}

fn complaint(line: usize, what: impl Into<String>) -> Complaint {
    Complaint { line, what: what.into() }
}

/// All rules that apply to the file at `path` (relative to the repository, with `/`).
pub(crate) fn check(path: &str, text: &str) -> Vec<Complaint> {
    let mut found = put_off(text);
    found.extend(machine_paths(text));
    if path.ends_with(".rs") || path.ends_with(".py") || path.ends_with(".sh") {
        found.extend(columns(text));
    }
    if path.ends_with(".rs") {
        found.extend(rust(path, text));
    }
    found
}

fn rust(path: &str, text: &str) -> Vec<Complaint> {
    let code = code_only(text);
    let mut found: Vec<_> = file_length(text).into_iter().collect();
    found.extend(header(text));
    found.extend(function_length(&code));
    if !path.starts_with("live/") {
        found.extend(no_unsafe(&code));
    }
    found
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn file_length(text: &str) -> Option<Complaint> {
    let count = text.lines().count();
    (count > FILE_LINES).then(|| complaint(count, format!("{count} lines, more than {FILE_LINES}")))
}

fn header(text: &str) -> Option<Complaint> {
    (!text.starts_with("//!")).then(|| complaint(1, "does not open with a //! comment"))
}

fn function_length(code: &str) -> Vec<Complaint> {
    let long = functions(code).into_iter().filter(|function| function.lines > FUNCTION_LINES);
    long.map(|function| {
        let (name, count) = (function.name, function.lines);
        complaint(function.line, format!("fn {name} has {count} lines, more than {FUNCTION_LINES}"))
    })
    .collect()
}

fn no_unsafe(code: &str) -> Vec<Complaint> {
    let found = lines(code).filter(|(_, line)| has_word(line, "unsafe"));
    found.map(|(line, _)| complaint(line, "unsafe outside live/")).collect()
}

fn columns(text: &str) -> Vec<Complaint> {
    lines(text)
        .map(|(line, content)| (line, content.chars().count()))
        .filter(|&(_, count)| count > COLUMNS)
        .map(|(line, count)| complaint(line, format!("{count} columns, more than {COLUMNS}")))
        .collect()
}

fn put_off(text: &str) -> Vec<Complaint> {
    let mut found = Vec::new();
    for (line, content) in lines(text) {
        let words = PUT_OFF.iter().filter(|word| has_word(content, word));
        found.extend(words.map(|word| complaint(line, format!("{word} puts off work"))));
    }
    found
}

fn machine_paths(text: &str) -> Vec<Complaint> {
    let mut found = Vec::new();
    for (line, content) in lines(text) {
        for prefix in MACHINE {
            let alone = content.match_indices(prefix).any(|(at, _)| {
                let before = content[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-/}>".contains(c))
            });
            if alone {
                found.push(complaint(line, format!("{prefix} is a path of one machine")));
            }
        }
    }
    found
}

/// The paths of this repository that a document names in backticks, with their lines. Fenced code
/// is not looked at. A path with a wildcard stands for the folder before it.
pub(crate) fn named_paths(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (line, content) in lines(text) {
        if content.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        let quoted = content.split('`').skip(1).step_by(2);
        found.extend(quoted.filter_map(own_path).map(|path| (line, path)));
    }
    found
}

/// `name` as a path of this repository, or `None` if it does not look like one.
fn own_path(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/*".contains(c);
    let without_line = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(':');
    let name =
        if without_line.len() < name.len() && name.contains(':') { without_line } else { name };
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    let first = name.split('/').next().unwrap_or_default();
    let source = [".rs", ".py", ".sh"].iter().any(|end| name.ends_with(end));
    let ours = if name.contains('/') {
        TOP.contains(&first) || (source && !first.is_empty())
    } else {
        name.ends_with(".md")
    };
    let fixed = name.split('/').take_while(|part| !part.contains('*'));
    ours.then(|| fixed.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The complaints about a file that is otherwise in order.
    fn about(path: &str, text: &str) -> Vec<String> {
        let all = check(path, text);
        all.into_iter().map(|found| format!("{}: {}", found.line, found.what)).collect()
    }

    #[test]
    fn a_good_file_has_no_complaints() {
        let text = "//! Good.\n\nfn f() {\n    let unsafe_code = \"unsafe\"; // unsafe\n}\n";
        assert_eq!(about("engine/src/a.rs", text), [""; 0]);
    }

    #[test]
    fn long_files() {
        let text = |count: usize| format!("//! Long.\n{}", "\n".repeat(count - 1));
        assert_eq!(about("a.rs", &text(600)), [""; 0]);
        assert_eq!(about("a.rs", &text(601)), ["601: 601 lines, more than 600"]);
    }

    #[test]
    fn long_functions() {
        let text = |count: usize| format!("//! Long.\n\nfn f() {{{}}}\n", "\n".repeat(count - 1));
        assert_eq!(about("a.rs", &text(70)), [""; 0]);
        assert_eq!(about("a.rs", &text(71)), ["3: fn f has 71 lines, more than 70"]);
    }

    #[test]
    fn missing_headers() {
        let want = ["1: does not open with a //! comment"];
        assert_eq!(about("a.rs", "/// Not a module comment.\nfn f() {}\n"), want);
        assert_eq!(about("a.rs", ""), want);
        assert_eq!(about("a.py", "pass\n"), [""; 0]);
    }

    #[test]
    fn work_put_off() {
        for word in PUT_OFF {
            let text = format!("//! Later.\n// {word} more\n");
            assert_eq!(about("a.rs", &text), [format!("2: {word} puts off work")]);
            assert_eq!(about("a.md", &text).len(), 1);
        }
        assert_eq!(about("a.sh", "mktemp -d qpmux.XXXXXX\n"), [""; 0]);
    }

    #[test]
    fn unsafe_code() {
        let text = "//! Sharp.\nfn f() { unsafe { g() } }\n";
        assert_eq!(about("engine/src/a.rs", text), ["2: unsafe outside live/"]);
        assert_eq!(about("live/src/a.rs", text), [""; 0]);
    }

    #[test]
    fn long_lines() {
        let text = |count: usize| format!("//! {}\n", "é".repeat(count - 4));
        assert_eq!(about("a.rs", &text(100)), [""; 0]);
        assert_eq!(about("a.rs", &text(101)), ["1: 101 columns, more than 100"]);
        assert_eq!(about("a.md", &text(101)), [""; 0]);
    }

    #[test]
    fn paths_of_one_machine() {
        for prefix in MACHINE {
            let text = format!("see {prefix}somebody/notes\n");
            assert_eq!(about("a.md", &text), [format!("1: {prefix} is a path of one machine")]);
            let inside = format!("https://example.org{prefix}page and ./x{prefix}y\n");
            assert_eq!(about("a.md", &inside), [""; 0]);
        }
        assert_eq!(about("a.sh", "/usr/bin/python3 /tmp/x $HOME/y\n"), [""; 0]);
    }

    #[test]
    fn named_paths_are_found() {
        let text = "`engine/src/lib.rs` and `tests/` or `tests/scripts/*.py`, `READ/atomic`\n\
                    `sim/src/main.rs:12` `CHANGELOG.md` `out/manifest.json` `cargo test`\n\
                    ```\n`engine/in/a/fence.rs`\n```\n`enigne/src/lib.rs` `qpmux::engine` `1/2`\n";
        let want = [
            (1, "engine/src/lib.rs"),
            (1, "tests/"),
            (1, "tests/scripts"),
            (2, "sim/src/main.rs"),
            (2, "CHANGELOG.md"),
            (6, "enigne/src/lib.rs"),
        ];
        assert_eq!(named_paths(text), want.map(|(line, path)| (line, path.to_owned())));
    }
}
