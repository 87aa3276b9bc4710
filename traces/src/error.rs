//! What can go wrong with a capture. Every message names the file and, where there is one, the
//! remedy.

use std::io;

use pcap_file::DataLink;

use crate::record::Fault;

/// Why a capture cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file is missing or may not be read.
    #[error("cannot open {file}; check the name and the permissions")]
    Open {
        /// The file as the caller named it.
        file: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A directory was given in place of a file.
    #[error("{file} is a directory; name a capture file")]
    Directory {
        /// The directory as the caller named it.
        file: String,
    },
    /// The file holds no byte at all.
    #[error("{file} is empty, it lacks even the header of a capture; capture it again")]
    Empty {
        /// The file as the caller named it.
        file: String,
    },
    /// The file ends inside the header in front of the first packet.
    #[error("{file} is cut off inside its header after {bytes} bytes; capture or copy it again")]
    HeaderCut {
        /// The file as the caller named it.
        file: String,
        /// How many bytes there are, after decompression.
        bytes: u64,
    },
    /// The content is of no known capture format.
    #[error(
        "{file} is not a packet capture (it begins with the bytes {found}); \
         give a pcap or pcapng file, plain or compressed by gzip or zstd"
    )]
    NotACapture {
        /// The file as the caller named it.
        file: String,
        /// The first bytes in hexadecimal.
        found: String,
    },
    /// A packet is of another link layer than Ethernet.
    #[error("{file}: packet {packet} has link type {found}, not ETHERNET; {remedy}")]
    LinkType {
        /// The file as the caller named it.
        file: String,
        /// Number of the first packet with this link type, from 1.
        packet: u64,
        /// Name and number of the link type.
        found: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A field holds a value which no intact capture has.
    #[error("{file}: byte {offset}, at packet {packet}: {field} is {value}, {expected}; {remedy}")]
    Damaged {
        /// The file as the caller named it.
        file: String,
        /// Number of the packet in or before which the field is, from 1.
        packet: u64,
        /// Where the record begins, in bytes from the start after decompression.
        offset: u64,
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What was expected in its place.
        expected: &'static str,
        /// What to do about it.
        remedy: String,
    },
    /// Reading failed in the middle.
    #[error("cannot read {file} beyond byte {offset}")]
    Read {
        /// The file as the caller named it.
        file: String,
        /// How far it was read, in bytes after decompression.
        offset: u64,
        /// What the operating system said.
        source: io::Error,
    },
    /// The compressed data is damaged.
    #[error(
        "{file} is damaged: its compressed data cannot be unpacked beyond byte {offset} of the \
         content; copy it again"
    )]
    Compression {
        /// The file as the caller named it.
        file: String,
        /// How far it was unpacked, in bytes after decompression.
        offset: u64,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The output cannot be created, written or put in its place.
    #[error("cannot write {file}; check the folder, its permissions and the space left")]
    Write {
        /// The file as the caller named it.
        file: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A packet does not fit the format of the output.
    #[error("{file}: cannot write packet {packet}: its {field} is {value}, at most {limit} fits")]
    Unwritable {
        /// The file as the caller named it.
        file: String,
        /// Number of the packet in the output, from 1.
        packet: u64,
        /// What of it does not fit, with its unit.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The largest value which fits.
        limit: u64,
    },
    /// The output is the same file as an input.
    #[error("the output {output} is the same file as the input {input}; name another output")]
    SameFile {
        /// The input as the caller named it.
        input: String,
        /// The output as the caller named it.
        output: String,
    },
}

impl CaptureError {
    /// Adds to a fault what only the reader knows: the file and the packet's number.
    pub(crate) fn from_fault(fault: Fault, file: &str, packet: u64) -> Self {
        let file = file.to_owned();
        match fault {
            Fault::Read { offset, source } => Self::Read { file, offset, source },
            Fault::Compression { offset, source } => Self::Compression { file, offset, source },
            Fault::LinkType(number) => {
                let (found, remedy) = describe_link_type(number);
                Self::LinkType { file, packet, found, remedy }
            }
            Fault::Field { offset, field, value, expected } => {
                let remedy = remedy_for_damage(&file, packet);
                Self::Damaged { file, packet, offset, field, value, expected, remedy }
            }
        }
    }
}

fn describe_link_type(number: u32) -> (String, &'static str) {
    let link = DataLink::from(number);
    let found = match link {
        DataLink::Unknown(_) => number.to_string(),
        known => format!("{known:?} ({number})"),
    };
    let remedy = match link {
        DataLink::LINUX_SLL | DataLink::LINUX_SLL2 => {
            "capture on the network interface itself, not on \"any\""
        }
        _ => "capture on an Ethernet interface, or keep only its packets (editcap, tshark -w)",
    };
    (found, remedy)
}

fn remedy_for_damage(file: &str, packet: u64) -> String {
    match packet {
        0 | 1 => "capture or copy the file again".to_owned(),
        _ => format!(
            "copy the file again, or keep what is intact: editcap -r {file} intact.pcap 1-{}",
            packet - 1
        ),
    }
}
