//! What the rules for file names and go.mod files need of Unicode: letters, printable characters, and simple case folding.
//!
//! They are pinned to the tables that Go has, not to Rust's: a letter that is newer than a client's tables is a name that the
//! client refuses to unpack, so a module that holds it must not be accepted.

use std::borrow::Cow;

mod tables;

use tables::{FOLDS, LETTERS, PRINTABLE};

/// Whether the character is of category L (`unicode.IsLetter`).
pub(super) fn is_letter(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphabetic();
    }
    within(&LETTERS, c)
}

/// Whether the character shows as itself (`unicode.IsPrint`): letters, marks, numbers, punctuation, symbols and the space.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || within(&PRINTABLE, c)
}

fn within(ranges: &[(u32, u32)], c: char) -> bool {
    let c = u32::from(c);
    let after = ranges.partition_point(|&(first, _)| first <= c);
    after > 0 && c <= ranges[after - 1].1
}

/// Equal for two texts exactly if Go's `strings.EqualFold` calls them equal (`strToFold` of x/mod/zip).
pub(super) fn fold(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(fold_char).collect())
}

fn fold_char(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let code = u32::from(c);
    let after = FOLDS.partition_point(|&(first, ..)| first <= code);
    let Some(&(first, last, step, add)) = after.checked_sub(1).and_then(|i| FOLDS.get(i)) else {
        return c;
    };
    if code > last || !(code - first).is_multiple_of(step) {
        return c;
    }
    code.checked_add_signed(add).and_then(char::from_u32).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_category_l() {
        for (c, want) in [('a', true), ('1', false), ('é', true), ('世', true), ('ª', true), ('²', false), ('\u{301}', false), ('Ⅷ', false)]
        {
            assert_eq!(is_letter(c), want, "{c}");
        }
        // A letter of Unicode 16, which the go commands in use do not know.
        assert!(!is_letter('\u{1c89}'));
    }

    #[test]
    fn folding_goes_beyond_pairs() {
        for (a, b) in [("K", "\u{212a}"), ("s", "ſ"), ("Straße", "straẞe"), ("Σας", "σΑΣ"), ("Ǆ", "ǅ"), ("İ", "İ"), ("𐐀", "𐐨")]
        {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("ss"), fold("ß"));
        assert_ne!(fold("i"), fold("ı"));
    }

    #[test]
    fn folding_twice_is_folding_once() {
        for c in (0..=0x10ffff).filter_map(char::from_u32) {
            assert_eq!(fold_char(fold_char(c)), fold_char(c), "{c:?}");
        }
    }
}
