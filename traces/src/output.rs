//! Where the bytes of a capture go: a file which appears whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// An output which is not finished yet.
pub(crate) enum Output {
    /// A file beside the place it shall take; it vanishes when dropped.
    Temporary { file: NamedTempFile, place: PathBuf },
    /// A device or a pipe: nothing to rename, what is written is gone.
    Direct(File),
}

impl Output {
    /// Opens the output for `path`.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"))
            }
            // Renaming over a device or a pipe would replace it by a file.
            Ok(found) if !found.is_file() => {
                OpenOptions::new().write(true).open(path).map(Self::Direct)
            }
            // Of a symbolic link the target is written, not the link replaced.
            Ok(_) => Self::temporary(fs::canonicalize(path)?),
            Err(_) => Self::temporary(path.to_owned()),
        }
    }

    fn temporary(place: PathBuf) -> io::Result<Self> {
        let Some(name) = place.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no file name"));
        };
        let folder = match place.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".part");
        #[cfg(unix)]
        {
            // As any new file, not private as temporary files are: the umask takes its share.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder)?;
        Ok(Self::Temporary { file, place })
    }

    /// Puts the file in its place. The bytes reach the disk first, else a loss of power could
    /// leave a file which is there but not whole.
    pub(crate) fn commit(self) -> io::Result<()> {
        match self {
            Self::Temporary { file, place } => {
                file.as_file().sync_all()?;
                file.persist(place).map(drop).map_err(|refused| refused.error)
            }
            Self::Direct(mut file) => file.flush(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Temporary { file, .. } => file.write(bytes),
            Self::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Temporary { file, .. } => file.flush(),
            Self::Direct(file) => file.flush(),
        }
    }
}
