//! The form of a file: a header, then chunks of records, each with its length and a check sum.

/// What a file begins with.
const MAGIC: [u8; 6] = *b"qpmuxj";
/// The version of this form. That of records is in each of them.
const VERSION: u16 = 1;
/// Bytes of a header: magic, version, the configuration's sum, and a sum of these.
pub(super) const HEADER: usize = 16;
/// Bytes in front of a chunk's records: their length, the same inverted, and their sum. A length
/// that is damaged must not make what follows look as if it was never written.
const FRONT: usize = 12;
/// Longest chunk: more than any call of the engine records.
const CHUNK_MAX: usize = 1 << 24;

/// A header.
pub(super) fn header(configuration: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..6].copy_from_slice(&MAGIC);
    header[6..8].copy_from_slice(&VERSION.to_le_bytes());
    header[8..12].copy_from_slice(&configuration.to_le_bytes());
    let sum = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// What a header says: its version, and the configuration's sum. `None` if it is none.
pub(super) fn read_header(bytes: &[u8]) -> Option<(u16, u32)> {
    let header = bytes.first_chunk::<HEADER>()?;
    let word = |at: usize| header.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let right = header[..6] == MAGIC && word(12)? == crc32fast::hash(&header[..12]);
    right.then(|| Some((u16::from_le_bytes([header[6], header[7]]), word(8)?)))?
}

/// The version that is written.
pub(super) const fn version() -> u16 {
    VERSION
}

/// Begins a chunk in `buffer`, which is to be ended.
pub(super) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend([0; FRONT]);
}

/// Ends a chunk that was begun. Whether there is anything in it.
pub(super) fn end(buffer: &mut [u8]) -> bool {
    let Some((front, records)) = buffer.split_first_chunk_mut::<FRONT>() else { return false };
    let len = records.len() as u32;
    front[..4].copy_from_slice(&len.to_le_bytes());
    front[4..8].copy_from_slice(&(!len).to_le_bytes());
    front[8..].copy_from_slice(&crc32fast::hash(records).to_le_bytes());
    !records.is_empty()
}

/// What is behind a chunk, or why there is none.
pub(super) enum Next<'a> {
    /// Its records, and what follows.
    Records(&'a [u8], &'a [u8]),
    /// The file ends here.
    End,
    /// The file ends before the chunk does.
    Torn,
    /// The chunk is not what was written.
    Damaged(&'static str),
}

/// The chunk that `bytes` begins with.
pub(super) fn next(bytes: &[u8]) -> Next<'_> {
    if bytes.is_empty() {
        return Next::End;
    }
    let Some((front, rest)) = bytes.split_first_chunk::<FRONT>() else { return Next::Torn };
    let [a, b, c, d, e, f, g, h, sum @ ..] = *front;
    let len = u32::from_le_bytes([a, b, c, d]);
    let inverted = u32::from_le_bytes([e, f, g, h]);
    let (right, len) = (len == !inverted, len as usize);
    if !right || len == 0 || len > CHUNK_MAX {
        return Next::Damaged("a chunk has a length that no chunk has");
    }
    let Some((records, rest)) = rest.split_at_checked(len) else { return Next::Torn };
    if crc32fast::hash(records) != u32::from_le_bytes(sum) {
        return Next::Damaged("the check sum of a chunk is wrong");
    }
    Next::Records(records, rest)
}
