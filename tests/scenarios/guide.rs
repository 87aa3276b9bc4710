//! The guide is true: what it tells its readers to type works, in its order, in one folder.

use qpmux_tests::root;
use tempfile::TempDir;

use crate::support::run_in;

/// Commands of a page, from its blocks of shell.
pub(crate) fn commands(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("qpmux "));
    lines.map(str::to_owned).collect()
}

/// Words of a command; those in quotes are one.
pub(crate) fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in command.split(" \"").enumerate() {
        let (quoted, rest) = match number {
            0 => (None, part),
            _ => part.split_once('"').map(|(quoted, rest)| (Some(quoted), rest)).unwrap(),
        };
        words.extend(quoted.map(str::to_owned));
        words.extend(rest.split_whitespace().map(str::to_owned));
    }
    words
}

#[test]
fn the_commands_of_the_guide_run() {
    let folder = TempDir::new().unwrap();
    for data in ["docs", "traces"] {
        std::os::unix::fs::symlink(root().join(data), folder.path().join(data)).unwrap();
    }
    let commands = commands("docs/guide.md");
    assert!(commands.len() > 12, "{commands:?}");
    for command in &commands {
        let run = run_in(folder.path(), words(command));
        run.assert_good();
    }
    for page in ["first", "second", "captured", "all"] {
        assert!(folder.path().join(page).join("index.html").is_file(), "{page}");
    }
}
