//! Names of files: standard streams, and whether two names mean one file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CaptureError;

/// Whether `path` stands for standard input or output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// How messages call `path` when it is read.
pub(crate) fn name_of(path: &Path) -> String {
    if is_standard(path) { "standard input".to_owned() } else { path.display().to_string() }
}

/// Whether `a` and `b` name the same file: by symbolic links, by hard links, or both not yet
/// there but in the same place. `-` is the same as nothing.
#[must_use]
pub fn same_file(a: impl AsRef<Path>, b: impl AsRef<Path>) -> bool {
    let (a, b) = (a.as_ref(), b.as_ref());
    if is_standard(a) || is_standard(b) {
        return false;
    }
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(first), Ok(second)) => same_identity(&first, &second) || same_place(a, b),
        (Err(_), Err(_)) => same_place(a, b),
        _ => false,
    }
}

/// Refuses `output` where it is the same file as one of `inputs`: it would replace it.
///
/// # Errors
/// [`CaptureError::SameFile`] names the input.
pub fn refuse_same_file<P: AsRef<Path>>(
    output: impl AsRef<Path>,
    inputs: &[P],
) -> Result<(), CaptureError> {
    let output = output.as_ref();
    match inputs.iter().map(AsRef::as_ref).find(|input| same_file(input, output)) {
        None => Ok(()),
        Some(input) => Err(CaptureError::SameFile {
            input: input.display().to_string(),
            output: output.display().to_string(),
        }),
    }
}

#[cfg(unix)]
fn same_identity(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    // A device such as the null device may well be input and output: nothing is replaced there.
    a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn same_identity(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    false
}

fn same_place(a: &Path, b: &Path) -> bool {
    matches!((place(a), place(b)), (Some(a), Some(b)) if a == b && !is_device(&a))
}

fn is_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// The one name of a file, there or not.
fn place(path: &Path) -> Option<PathBuf> {
    if let Ok(found) = fs::canonicalize(path) {
        return Some(found);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    Some(fs::canonicalize(folder).ok()?.join(path.file_name()?))
}
