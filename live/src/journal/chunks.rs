//! The form of a file: a header, then chunks of records, each with its length and a check sum.

/// What a file begins with.
const MAGIC: [u8; 6] = *b"qpmuxj";
/// Bytes in front of a chunk's records: their length, the same inverted, and their sum. A length
/// that is damaged must not make what follows look as if it was never written.
const FRONT: usize = 12;
/// Bytes of a length. In a file that is mapped it is stored last: where it is 0, nothing is.
pub(super) const LEN: usize = 4;
/// Longest chunk: more than any call of the engine records.
const CHUNK_MAX: usize = 1 << 24;

/// The forms that files may have. That of records is in each of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The header is magic, form, the configuration's sum, and a sum of these.
    One,
    /// A [`Stamp`] is behind the configuration's sum.
    Two,
}

impl Form {
    /// The number that a header and the configuration say.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Form::One => 1,
            Form::Two => 2,
        }
    }

    /// The form of that number.
    #[must_use]
    pub fn of(number: u16) -> Option<Form> {
        [Form::One, Form::Two].into_iter().find(|form| form.number() == number)
    }

    /// Bytes of a header.
    pub(super) const fn header_len(self) -> usize {
        match self {
            Form::One => 16,
            Form::Two => 40,
        }
    }
}

/// Which log a file is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    /// A number that no other log has.
    pub log: u64,
    /// How many hosts have written it, one after the other. Restarts do not count.
    pub term: u64,
    /// The start of the machine that has written it: what was written before another one may have
    /// lost its end with the power. 0 is not known.
    pub boot: u64,
}

/// What a file says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) form: Form,
    /// The sum of the configuration, as that form makes it.
    pub(super) configuration: u32,
    /// What it is of; of the form before, nothing is known.
    pub(super) stamp: Option<Stamp>,
}

impl Header {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.form.number().to_le_bytes());
        bytes.extend(self.configuration.to_le_bytes());
        if self.form == Form::Two {
            let Stamp { log, term, boot } = self.stamp.unwrap_or_default();
            bytes.extend([log, term, boot].map(u64::to_le_bytes).as_flattened());
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }
}

/// What a file begins with.
pub(super) enum Begin<'a> {
    /// A header, and what follows.
    Whole(Header, &'a [u8]),
    /// It ends before its header does.
    Torn,
    /// What is no header.
    Damaged,
    /// A header of a form that is not known here.
    Later(u16),
}

/// What `bytes`, all of a file, begins with.
pub(super) fn read_header(bytes: &[u8]) -> Begin<'_> {
    let Some((front, _)) = bytes.split_first_chunk::<8>() else {
        return if MAGIC.starts_with(bytes.get(..6).unwrap_or(bytes)) {
            Begin::Torn
        } else {
            Begin::Damaged
        };
    };
    let number = u16::from_le_bytes([front[6], front[7]]);
    let form = match Form::of(number) {
        _ if front[..6] != MAGIC => return Begin::Damaged,
        None => return Begin::Later(number),
        Some(form) => form,
    };
    let Some((header, rest)) = bytes.split_at_checked(form.header_len()) else {
        return Begin::Torn;
    };
    let Some((said, sum)) = header.split_last_chunk::<4>() else { return Begin::Damaged };
    if crc32fast::hash(said) != u32::from_le_bytes(*sum) {
        return Begin::Damaged;
    }
    let word = |at: usize| said.get(at..at + 4).and_then(|word| word.try_into().ok());
    let long = |at: usize| said.get(at..at + 8).and_then(|long| long.try_into().ok());
    let [log, term, boot] = [12, 20, 28].map(|at| long(at).map(u64::from_le_bytes));
    let stamp = log.zip(term).zip(boot).map(|((log, term), boot)| Stamp { log, term, boot });
    let Some(configuration) = word(8).map(u32::from_le_bytes) else { return Begin::Damaged };
    Begin::Whole(Header { form, configuration, stamp }, rest)
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
pub(super) fn next(bytes: &[u8], form: Form) -> Next<'_> {
    if bytes.is_empty() || form == Form::Two && bytes.starts_with(&[0; LEN]) {
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
