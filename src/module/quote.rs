//! How Go writes and reads strings: `strconv.Quote`, the `%q` of messages that people know from the go tool, and `Unquote`.
//!
//! What is quoted may come from a stranger's zip: the result is always printable, on one line, and valid UTF-8.

use super::unicode::is_printable;

/// Quotes bytes as Go's `%q` does, in double quotes. Invalid UTF-8 shows as `\xNN`.
pub fn quote(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_char(&mut out, c, '"');
        }
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    out.push('"');
    out
}

/// Quotes one character as Go's `%q` does, in single quotes.
pub(super) fn quote_char(c: char) -> String {
    let mut out = String::from("'");
    push_char(&mut out, c, '\'');
    out.push('\'');
    out
}

/// The text as it is when it is printable and on one line, else quoted: for names in front of a message.
pub(super) fn plain_or_quoted(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_printable) => text.to_owned(),
        _ => quote(bytes),
    }
}

fn push_char(out: &mut String, c: char, mark: char) {
    match c {
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if c == mark || c == '\\' => out.extend(['\\', c]),
        c if is_printable(c) => out.push(c),
        c if c < ' ' || c == '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if u32::from(c) < 0x10000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
    }
}

/// Reads an interpreted string literal, double quotes and all (`strconv.Unquote`); `None` if it is none.
///
/// Bytes that escapes make and that are no UTF-8 become U+FFFD.
pub(super) fn unquote(literal: &str) -> Option<String> {
    let mut rest = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = Vec::with_capacity(rest.len());
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '"' | '\n' => return None,
            '\\' => rest = unescape(rest, &mut out)?,
            c => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Reads what follows a backslash; returns the rest.
fn unescape<'a>(text: &'a str, out: &mut Vec<u8>) -> Option<&'a str> {
    let kind = text.chars().next()?;
    let number = |from: usize, len: usize, radix: u32| {
        let digits = text.get(from..from + len)?;
        let all = digits.bytes().all(|b| char::from(b).is_digit(radix));
        let value = u32::from_str_radix(digits, radix).ok().filter(|_| all)?;
        Some((value, &text[from + len..]))
    };
    let (byte, rest) = match kind {
        'x' => number(1, 2, 16)?,
        '0'..='7' => number(0, 3, 8)?,
        'u' | 'U' => {
            let (value, rest) = number(1, if kind == 'u' { 4 } else { 8 }, 16)?;
            out.extend(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => {
            let at = "abfnrtv\\\"".find(kind)?;
            (u32::from(b"\x07\x08\x0c\n\r\t\x0b\\\""[at]), &text[1..])
        }
    };
    out.push(u8::try_from(byte).ok()?);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(quote("a\"b\\c"), r#""a\"b\\c""#);
        assert_eq!(quote("x\n\t\x07\x00\x7f'"), r#""x\n\t\a\x00\x7f'""#);
        assert_eq!(quote(b"\xff\xc3\xa9"), "\"\\xff\u{e9}\"");
        assert_eq!(quote("\u{200b}\u{e0001}"), r#""\u200b\U000e0001""#);
        assert_eq!(quote("e\u{301}"), "\"e\u{301}\"");
        assert_eq!(quote_char('\''), r"'\''");
        assert_eq!(quote_char('"'), "'\"'");
    }

    #[test]
    fn unquotes_as_go_does() {
        for (literal, want) in [
            (r#""a\"b\\""#, "a\"b\\"),
            (r#""\x41\101\u00e9\U0001F600\n\a""#, "AAé😀\n\x07"),
            (r#""\xff""#, "\u{fffd}"),
            ("\"\"", ""),
            ("\"a\tb\"", "a\tb"),
        ] {
            assert_eq!(unquote(literal).as_deref(), Some(want), "{literal}");
        }
        for bad in ["", "\"", "a", r#""a"b""#, r#""\'""#, r#""\x4""#, r#""\400""#, r#""\ud800""#, r#""\u+041""#, r#""\""#] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
        for bad in ["\"a\nb\"", "\"\\\n\"", "\"\\é\""] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_hostile_name_stays_on_one_line() {
        assert_eq!(plain_or_quoted(b"a\nb"), r#""a\nb""#);
        assert_eq!(plain_or_quoted(b"a b/c.go"), "a b/c.go");
        assert_eq!(plain_or_quoted(b"\xff"), r#""\xff""#);
    }
}
