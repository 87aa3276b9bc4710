//! A profile's text: what may stand where. Every value that can contradict another one knows its
//! place in the text.

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileFile {
    #[allow(dead_code, reason = "for the reader of the file")]
    name: String,
    #[serde(default)]
    pub(super) key: Vec<KeyEntry>,
    #[serde(default)]
    pub(super) address: Vec<AddressEntry>,
    #[serde(default)]
    pub(super) atomics: AtomicsEntry,
    #[serde(default)]
    pub(super) reads: ReadsEntry,
    pub(super) list: Option<ListEntry>,
}

/// Writes that carry their key in the payload.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyEntry {
    pub(super) opcode: Spanned<String>,
    pub(super) payload_len: Spanned<u32>,
    pub(super) offset: Spanned<u16>,
    pub(super) len: Spanned<u8>,
    pub(super) byte_order: Order,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    Little,
    Big,
}

/// Requests whose key is their address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressEntry {
    pub(super) opcode: Spanned<String>,
    pub(super) len: Spanned<u32>,
    pub(super) unit: Spanned<u32>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct AtomicsEntry {
    pub(super) compare_swap: Option<Spanned<CompareSwap>>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CompareSwap {
    None,
    LastWritten,
    OfAddress,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadsEntry {
    pub(super) key: Option<Spanned<ReadKey>>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ReadKey {
    None,
    OfAddress,
}

/// How versions are linked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListEntry {
    pub(super) slot_lens: Spanned<Vec<Spanned<u32>>>,
    pub(super) next: Spanned<Bits>,
    pub(super) next_version: Spanned<Bits>,
    pub(super) version: Spanned<Bits>,
    #[serde(default)]
    pub(super) grid: Vec<GridEntry>,
    pub(super) report: Option<Spanned<ReportEntry>>,
}

/// How superseded slots are reported.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportEntry {
    pub(super) payload_len: u16,
    pub(super) first: u16,
    pub(super) entry_len: u16,
    pub(super) entries: u16,
    pub(super) old: u16,
    pub(super) new: u16,
}

/// Where the slots of one length are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GridEntry {
    pub(super) len: Spanned<u32>,
    pub(super) number: u64,
    pub(super) address: u64,
}

/// Bits of the word that begins a slot.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bits {
    pub(super) shift: u8,
    pub(super) bits: u8,
}
