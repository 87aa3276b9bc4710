//! A file of records that grows. Where its form allows it, records are stored in memory that the
//! file is mapped to: a tenth of the cost of a `write` (`live/bench/journal.rs`), and the kernel
//! has them as surely when the process is killed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{Ordering, compiler_fence};

use memmap2::MmapMut;
use nix::fcntl::posix_fallocate;

use super::chunks::{Form, Header, LEN};

/// What a segment is kept in.
#[derive(Debug)]
pub(super) enum Segment {
    /// A file, one `write` for each chunk: as the form before was written.
    Written { file: File, len: usize, most: usize },
    /// Memory that is a file's, and bytes of it in use. The rest is zeros.
    Mapped { map: MmapMut, len: usize },
}

impl Segment {
    /// A new segment with its header, for so many bytes. A file of the same name was never
    /// finished.
    ///
    /// # Errors
    /// What the file system says: also that it is full, since all room is taken here.
    pub(super) fn begin(path: &Path, header: &Header, most: u64) -> io::Result<Segment> {
        let file = open(path, header)?;
        let len = header.form.header_len();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if header.form == Form::One {
            return Ok(Segment::Written { file, len, most });
        }
        // Without its blocks, a store could find the disk full, which ends the process.
        posix_fallocate(&file, 0, most as i64)?;
        #[expect(unsafe_code, reason = "the folder's lock keeps others from these files")]
        // SAFETY: nobody else writes or cuts the file while the folder is locked. Packers and
        // other readers copy it through the file system, and read what is published only.
        let map = unsafe { MmapMut::map_mut(&file) }?;
        Ok(Segment::Mapped { map, len })
    }

    /// Has the kernel give the memory now: for a page it takes as long as for a `write`.
    pub(super) fn touch(&mut self) {
        if let Segment::Mapped { map, len } = self
            && let Some(rest) = map.get_mut(*len..)
        {
            rest.fill(0);
        }
    }

    /// Whether so many bytes more have room. Without a limit of its own, a file that is long enough
    /// has none.
    pub(super) fn has_room(&self, more: usize) -> bool {
        match self {
            Segment::Written { len, most, .. } => len < most,
            Segment::Mapped { map, len } => map.len() - len >= more,
        }
    }

    /// Adds a chunk: it is there whole or not at all.
    ///
    /// # Errors
    /// What the file system says, or that there is no room.
    pub(super) fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        match self {
            Segment::Written { file, len, .. } => {
                *len += chunk.len();
                file.write_all(chunk)
            }
            Segment::Mapped { map, len } => {
                let place = map.get_mut(*len..*len + chunk.len());
                let place = place.ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
                *len += chunk.len();
                publish(place, chunk);
                Ok(())
            }
        }
    }
}

/// Stores a chunk, its length last: until then there is none. A process that is killed has made its
/// stores in this order, or not.
fn publish(place: &mut [u8], chunk: &[u8]) {
    let (Some((said, rest)), Some((length, behind))) =
        (place.split_first_chunk_mut::<LEN>(), chunk.split_first_chunk::<LEN>())
    else {
        return;
    };
    rest.copy_from_slice(behind);
    compiler_fence(Ordering::Release);
    *said = *length;
}

/// A new file with its header.
pub(super) fn open(path: &Path, header: &Header) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create(true).truncate(true).open(path)?;
    file.write_all(&header.bytes())?;
    Ok(file)
}
