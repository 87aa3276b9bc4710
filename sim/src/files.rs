//! Files written whole or not at all.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

/// How names of temporary files begin.
const TEMPORARY: &str = ".qpmux";

/// Writes a file under a temporary name beside it, then renames it.
///
/// # Errors
/// When the directory cannot be written to; the file is then as it was before.
pub fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        temporary(path, bytes)?.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The same, but only if there is no such file yet; says whether it was written.
///
/// # Errors
/// When the directory cannot be written to.
pub fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<bool> {
    let write = || match temporary(path, bytes)?.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A temporary file beside another.
fn temporary(path: &Path, bytes: &[u8]) -> std::io::Result<tempfile::NamedTempFile> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir)?;
    file.write_all(bytes)?;
    set_usual_permissions(file.as_file())?;
    // Else a power failure could leave the name with nothing behind it.
    file.as_file().sync_data()?;
    Ok(file)
}

/// Removes temporary files that a process left behind which was killed. Nobody else may write in
/// the directory.
///
/// # Errors
/// When it cannot be read, or a file cannot be removed.
pub fn remove_leftovers(dir: &Path) -> anyhow::Result<()> {
    let remove = || -> std::io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    remove().with_context(|| format!("cannot tidy up {}", dir.display()))
}

/// Makes the directory for results, and those above it, where they are not there.
///
/// # Errors
/// When a file is in the way, or the place cannot be written to.
pub fn make_results_dir(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| {
        format!("cannot make the directory {}; name another one with --out", dir.display())
    })
}

/// A temporary file is readable by its owner alone; a result is for others too.
fn set_usual_permissions(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}
