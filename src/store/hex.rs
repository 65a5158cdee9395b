//! Hashes as lower-case hex: file names, entity tags, JSON.

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

/// Two lower-case digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The inverse of [`hex`] for 32 bytes; nothing else is taken.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// For `serde(with)`.
pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&hex(bytes))
}

/// For `serde(with)`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 32], D::Error> {
    unhex(&String::deserialize(d)?).ok_or_else(|| D::Error::custom("not 64 hex digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_back_and_nothing_else_is() {
        let bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i * 8 + 1).unwrap());
        let text = hex(&bytes);
        assert_eq!((&text[..8], unhex(&text)), ("01091119", Some(bytes)));
        for bad in [text[1..].to_owned(), text.to_uppercase(), text.replacen("01", "+1", 1), format!("{text}0"), String::new()] {
            assert_eq!(unhex(&bad), None, "{bad}");
        }
    }
}
