//! Where the bytes of a capture go: a file which appears whole or not at all, compressed where
//! its name asks for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

use crate::paths::is_standard;

/// Level of zstd which its own tool uses.
const ZSTD_LEVEL: i32 = 3;

/// An output behind the compressor which its name asks for.
pub(crate) enum Packed {
    Plain(Output),
    Gzip(GzEncoder<Output>),
    Zstd(zstd::Encoder<'static, Output>),
}

impl Packed {
    /// Opens the output for `path`: names which end in `.gz` are packed by gzip, in `.zst` by zstd.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let output = Output::create(path)?;
        match path.extension().and_then(|ending| ending.to_str()) {
            // The header of this gzip holds neither name nor time: the same bytes each time.
            Some("gz") => Ok(Self::Gzip(GzEncoder::new(output, flate2::Compression::default()))),
            Some("zst") => {
                let mut encoder = zstd::Encoder::new(output, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Ok(Self::Zstd(encoder))
            }
            _ => Ok(Self::Plain(output)),
        }
    }

    /// Writes what is left and puts the file in its place.
    pub(crate) fn commit(self) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.commit(),
            Self::Gzip(encoder) => encoder.finish()?.commit(),
            Self::Zstd(encoder) => encoder.finish()?.commit(),
        }
    }
}

impl Write for Packed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// An output which is not finished yet.
pub(crate) enum Output {
    /// A file beside the place it shall take; it vanishes when dropped.
    Temporary { file: NamedTempFile, place: PathBuf },
    /// A device or a pipe: nothing to rename, what is written is gone.
    Direct(File),
    /// Standard output.
    Standard(io::Stdout),
}

impl Output {
    /// Opens the output for `path`.
    fn create(path: &Path) -> io::Result<Self> {
        if is_standard(path) {
            return Ok(Self::Standard(io::stdout()));
        }
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
    fn commit(self) -> io::Result<()> {
        match self {
            Self::Temporary { file, place } => {
                file.as_file().sync_all()?;
                file.persist(place).map(drop).map_err(|refused| refused.error)
            }
            Self::Direct(mut file) => file.flush(),
            Self::Standard(mut stream) => stream.flush(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Temporary { file, .. } => file.write(bytes),
            Self::Direct(file) => file.write(bytes),
            Self::Standard(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Temporary { file, .. } => file.flush(),
            Self::Direct(file) => file.flush(),
            Self::Standard(stream) => stream.flush(),
        }
    }
}
