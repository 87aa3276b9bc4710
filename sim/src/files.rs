//! Files written whole or not at all.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

/// Writes a file under a temporary name beside it, then renames it.
///
/// # Errors
/// When the directory cannot be written to; the file is then as it was before.
pub fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".qpmux").tempfile_in(dir)?;
        file.write_all(bytes)?;
        set_usual_permissions(file.as_file())?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
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
