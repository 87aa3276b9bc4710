//! Application profiles as TOML: the built-in ones and those of a user's own.

use std::fs;
use std::path::Path;

use qpmux_engine::policy::{AtomicKey, ByteOrder, KeyField, Profile};
use qpmux_engine::wire::Opcode;
use serde::Deserialize;

/// Profiles that come with the program: name and text.
const BUILT_IN: &[(&str, &str)] = &[
    ("clover", include_str!("../profiles/clover.toml")),
    ("clover-upstream", include_str!("../profiles/clover-upstream.toml")),
    ("kv", include_str!("../profiles/kv.toml")),
    ("none", include_str!("../profiles/none.toml")),
];

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Neither a built-in profile nor a file.
    #[error(
        "profile '{name}' is not built in ({}) and no such file can be read: {source}",
        built_in_profiles().collect::<Vec<_>>().join(", ")
    )]
    Unknown {
        /// As the user gave it.
        name: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Not TOML, or with fields that a profile does not have.
    #[error("profile {name}: {source}")]
    Syntax {
        /// Name or file.
        name: String,
        /// Where and why, from the TOML parser.
        source: Box<toml::de::Error>,
    },
    /// A field that cannot be.
    #[error("profile {name}, key {index}: {field} {problem}")]
    Field {
        /// Name or file.
        name: String,
        /// Which `[[key]]`, from 1.
        index: usize,
        /// The field.
        field: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    #[allow(dead_code, reason = "for the reader of the file")]
    name: String,
    #[serde(default)]
    key: Vec<KeyEntry>,
    #[serde(default)]
    atomics: Atomics,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    opcode: String,
    payload_len: u32,
    offset: u16,
    len: u8,
    byte_order: Order,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    Little,
    Big,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Atomics {
    #[serde(default)]
    compare_swap: CompareSwap,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
enum CompareSwap {
    #[default]
    None,
    LastWritten,
}

/// Names of the built-in profiles.
pub fn built_in_profiles() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The built-in profile of that name, else the one in the file of that name.
///
/// # Errors
/// See [`ProfileError`].
pub fn load_profile(name: &str) -> Result<Profile, ProfileError> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        return parse_profile(name, text);
    }
    let text = fs::read_to_string(Path::new(name))
        .map_err(|source| ProfileError::Unknown { name: name.into(), source })?;
    parse_profile(name, &text)
}

/// A profile from its text; `name` is what errors call it.
///
/// # Errors
/// See [`ProfileError`].
pub fn parse_profile(name: &str, text: &str) -> Result<Profile, ProfileError> {
    let file: ProfileFile = toml::from_str(text)
        .map_err(|source| ProfileError::Syntax { name: name.into(), source: Box::new(source) })?;
    let mut fields: Vec<KeyField> = Vec::new();
    for (i, entry) in file.key.iter().enumerate() {
        let problem = |field, problem: String| ProfileError::Field {
            name: name.into(),
            index: i + 1,
            field,
            problem,
        };
        if entry.opcode != Opcode::WriteOnly.name() {
            let text =
                format!("is '{}', must be WRITE_ONLY: a key travels with a write", entry.opcode);
            return Err(problem("opcode", text));
        }
        if !(1..=8).contains(&entry.len) {
            return Err(problem("len", format!("is {}, must be 1 to 8 bytes", entry.len)));
        }
        if u32::from(entry.offset) + u32::from(entry.len) > entry.payload_len {
            let end = u32::from(entry.offset) + u32::from(entry.len);
            let text = format!("ends at byte {end} of a payload of {}", entry.payload_len);
            return Err(problem("offset", text));
        }
        if fields.iter().any(|f| f.payload_len == entry.payload_len) {
            let text = format!("{} has a key already: one per payload length", entry.payload_len);
            return Err(problem("payload_len", text));
        }
        fields.push(KeyField {
            opcode: Opcode::WriteOnly,
            payload_len: entry.payload_len,
            offset: entry.offset,
            len: entry.len,
            byte_order: match entry.byte_order {
                Order::Little => ByteOrder::Little,
                Order::Big => ByteOrder::Big,
            },
        });
    }
    let compare_swap = match file.atomics.compare_swap {
        CompareSwap::None => AtomicKey::None,
        CompareSwap::LastWritten => AtomicKey::LastWritten,
    };
    Ok(Profile::new(fields, compare_swap))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_loads() {
        for name in built_in_profiles() {
            load_profile(name).unwrap();
        }
    }

    #[test]
    fn kv_finds_the_key_of_a_record() {
        let profile = load_profile("kv").unwrap();
        let mut record = vec![0; 1024];
        record[..8].copy_from_slice(&0x6b65_7900_0000_002a_u64.to_le_bytes());
        assert_eq!(profile.written_key(Opcode::WriteOnly, &record), Some(0x6b65_7900_0000_002a));
        assert_eq!(profile.written_key(Opcode::WriteOnly, &record[..512]), None);
    }

    #[test]
    fn clover_finds_the_key_behind_the_version_word() {
        let profile = load_profile("clover").unwrap();
        let upstream = load_profile("clover-upstream").unwrap();
        for slot in [128, 256, 512, 1024] {
            let mut bytes = vec![0x41; slot];
            bytes[..8].copy_from_slice(&0x800_u64.to_le_bytes());
            bytes[8..16].copy_from_slice(&42_u64.to_le_bytes());
            assert_eq!(profile.written_key(Opcode::WriteOnly, &bytes), Some(42));
            assert_eq!(profile.written_key(Opcode::SendOnly, &bytes), None);
            assert_eq!(upstream.written_key(Opcode::WriteOnly, &bytes), None);
        }
        // Shortcuts, and messages of the metadata server.
        for other in [8, 192, 560] {
            assert_eq!(profile.written_key(Opcode::WriteOnly, &vec![1; other]), None);
        }
    }

    #[test]
    fn a_contradiction_is_refused_with_its_place() {
        let entry = |text: &str| format!("name = 'x'\n[[key]]\n{text}");
        let good =
            "opcode = 'WRITE_ONLY'\npayload_len = 64\noffset = 56\nlen = 8\nbyte_order = 'big'\n";
        parse_profile("x", &entry(good)).unwrap();
        let refused = |text: &str| parse_profile("x", text).unwrap_err().to_string();
        assert_eq!(
            refused(&entry(&good.replace("56", "57"))),
            "profile x, key 1: offset ends at byte 65 of a payload of 64"
        );
        assert_eq!(
            refused(&entry(&good.replace("len = 8", "len = 9"))),
            "profile x, key 1: len is 9, must be 1 to 8 bytes"
        );
        assert!(refused(&entry(&good.replace("WRITE_ONLY", "READ"))).contains("WRITE_ONLY"));
        let twice = format!("{}[[key]]\n{good}", entry(good));
        assert!(refused(&twice).starts_with("profile x, key 2: payload_len 64 has a key"));
        assert!(refused("nam = 'x'").contains("line 1"));
        assert!(refused("no/such/file = ").contains("profile x"));
    }

    #[test]
    fn a_missing_file_names_the_built_in_ones() {
        let error = load_profile("no-such-profile").unwrap_err().to_string();
        assert!(error.contains("clover, clover-upstream, kv, none"), "{error}");
    }
}
