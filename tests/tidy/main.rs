//! Style as a test: the rules of the house, kept by every text file of the repository.

mod rule_table;
mod rules;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

/// Files that people write, by the end of their names.
const TEXT: [&str; 10] =
    [".rs", ".py", ".sh", ".toml", ".md", ".c", ".h", ".csv", ".json", ".ci/run"];
/// Folders that hold no source.
const NOT_OURS: [&str; 5] = [".git", "target", "out", "node_modules", "__pycache__"];
/// Documents whose paths must exist.
const MAPS: [&str; 5] =
    ["ARCHITECTURE.md", "README.md", "docs/changing.md", "docs/decisions.md", "docs/invariants.md"];

fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("the package is in a folder of the repository").to_owned()
}

/// All text files below `folder`, relative to `root`, sorted.
fn text_files(root: &Path, folder: &Path, found: &mut Vec<String>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_symlink() {
            continue;
        } else if path.is_dir() {
            if !NOT_OURS.contains(&name.as_str()) {
                text_files(root, &path, found);
            }
        } else {
            let relative = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if TEXT.iter().any(|end| relative.ends_with(end)) {
                found.push(relative);
            }
        }
    }
}

#[test]
fn every_file_keeps_the_rules() {
    let root = root();
    let mut files = Vec::new();
    text_files(&root, &root, &mut files);
    assert!(files.iter().any(|file| file == "tests/tidy/main.rs"), "the search finds this file");
    let mut complaints = Vec::new();
    for file in &files {
        let bytes = fs::read(root.join(file)).unwrap();
        match String::from_utf8(bytes) {
            Ok(text) => complaints.extend(
                rules::check(file, &text)
                    .into_iter()
                    .map(|found| format!("{file}:{}: {}", found.line, found.what)),
            ),
            Err(_) => complaints.push(format!("{file}:1: is not UTF-8")),
        }
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn paths_in_the_documents_exist() {
    let root = root();
    let mut missing = Vec::new();
    for document in MAPS {
        let Ok(text) = fs::read_to_string(root.join(document)) else { continue };
        let named = rules::named_paths(&text).into_iter();
        let gone = named.filter(|(_, path)| !root.join(path).exists());
        missing.extend(gone.map(|(line, path)| format!("{document}:{line}: there is no {path}")));
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
