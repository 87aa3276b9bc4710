//! Where the bytes come from: a file or standard input, decompressed when its content says so.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::CaptureError;
use crate::paths::{is_standard, name_of};

/// Bytes looked at to tell a compressed file from a plain one.
const SNIFFED: usize = 4;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Begins a skippable frame of zstd (with any last half-byte); parallel compressors put one first.
const ZSTD_SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];
/// Size of the buffer in front of a decompressor, in bytes.
const COMPRESSED_BUFFER_BYTES: usize = 64 * 1024;

/// An input which was opened but not looked into yet.
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) reader: Box<dyn Read + Send>,
    /// Length in bytes where the input is a regular file.
    pub(crate) len: Option<u64>,
}

/// Opens `path`; `-` is standard input.
pub(crate) fn open(path: &Path) -> Result<Opened, CaptureError> {
    if is_standard(path) {
        return Ok(Opened { name: name_of(path), reader: Box::new(io::stdin()), len: None });
    }
    let name = name_of(path);
    let opened = File::open(path).and_then(|file| file.metadata().map(|found| (file, found)));
    match opened {
        Err(source) => Err(CaptureError::Open { file: name, source }),
        Ok((_, found)) if found.is_dir() => Err(CaptureError::Directory { file: name }),
        Ok((file, found)) => {
            let len = found.is_file().then_some(found.len());
            Ok(Opened { name, reader: Box::new(file), len })
        }
    }
}

/// A failed read, with whose fault it was.
pub(crate) enum SourceError {
    Read(io::Error),
    Compression(io::Error),
}

/// The bytes of a capture after decompression.
pub(crate) struct Source {
    stream: Stream,
    cut: bool,
}

enum Stream {
    Plain(Counted),
    Gzip(Box<MultiGzDecoder<BufReader<Counted>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<Counted>>>),
}

impl Source {
    /// Looks at the first bytes of `reader` and puts the decompressor they call for in front.
    pub(crate) fn new(reader: Box<dyn Read + Send>) -> Result<Self, SourceError> {
        let mut counted = Counted::new(reader);
        let head = counted.sniff().map_err(SourceError::Read)?;
        let buffered = |counted| BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, counted);
        let stream = if head.starts_with(&GZIP_MAGIC) {
            Stream::Gzip(Box::new(MultiGzDecoder::new(buffered(counted))))
        } else if head == ZSTD_MAGIC || head.get(1..) == Some(&ZSTD_SKIPPABLE_MAGIC[..]) {
            let decoder = zstd::Decoder::with_buffer(buffered(counted));
            Stream::Zstd(Box::new(decoder.map_err(SourceError::Compression)?))
        } else {
            Stream::Plain(counted)
        };
        Ok(Self { stream, cut: false })
    }

    /// Bytes taken from the file so far, before decompression.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.counted().bytes
    }

    /// Whether the compressed data ended too early.
    pub(crate) fn was_cut(&self) -> bool {
        self.cut
    }

    /// Reads some bytes; 0 at the end, also at an early end of compressed data.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let outcome = match &mut self.stream {
            Stream::Plain(counted) => counted.read(buffer),
            Stream::Gzip(decoder) => decoder.read(buffer),
            Stream::Zstd(decoder) => decoder.read(buffer),
        };
        match outcome {
            Ok(bytes) => Ok(bytes),
            Err(error) if self.counted().failed => Err(SourceError::Read(error)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.cut = true;
                Ok(0)
            }
            Err(error) => Err(SourceError::Compression(error)),
        }
    }

    fn counted(&self) -> &Counted {
        match &self.stream {
            Stream::Plain(counted) => counted,
            Stream::Gzip(decoder) => decoder.get_ref().get_ref(),
            Stream::Zstd(decoder) => decoder.get_ref().get_ref(),
        }
    }
}

/// The file itself: counts its bytes, and can give its first ones twice.
struct Counted {
    inner: Box<dyn Read + Send>,
    head: Vec<u8>,
    given: usize,
    bytes: u64,
    /// Whether the file, not the decompressor behind it, failed.
    failed: bool,
}

impl Counted {
    fn new(inner: Box<dyn Read + Send>) -> Self {
        Self { inner, head: Vec::new(), given: 0, bytes: 0, failed: false }
    }

    /// The first bytes, fewer than [`SNIFFED`] only where there are no more.
    fn sniff(&mut self) -> io::Result<&[u8]> {
        self.inner.by_ref().take(SNIFFED as u64).read_to_end(&mut self.head)?;
        Ok(&self.head)
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut rest = self.head.get(self.given..).unwrap_or_default();
        if !rest.is_empty() {
            let bytes = rest.read(buffer)?;
            self.given += bytes;
            self.bytes += bytes as u64;
            return Ok(bytes);
        }
        loop {
            match self.inner.read(buffer) {
                Ok(bytes) => {
                    self.bytes += bytes as u64;
                    return Ok(bytes);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
            }
        }
    }
}
