//! The text of an upstream's 404 or 410, as it goes on to clients.

/// What `go` shows of an error, and so what a refusal may hold.
pub(super) const TEXT_BYTES_MAX: usize = 600;
/// Likewise, in lines.
pub(super) const TEXT_LINES_MAX: usize = 8;

/// The upstream's own text, byte for byte if it is `text/plain`, UTF-8 and within the limits; clipped if it is
/// longer; `fallback` if it is of another kind. `cut`: there was more than `body`.
pub(super) fn text(content_type: Option<&str>, body: &[u8], cut: bool, fallback: impl FnOnce() -> String) -> String {
    if !is_plain(content_type) {
        return fallback();
    }
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        // A character that the reading limit cut in two is no fault of the upstream's.
        Err(e) if cut && e.error_len().is_none() => std::str::from_utf8(&body[..e.valid_up_to()]).unwrap_or_default(),
        Err(_) => return fallback(),
    };
    if text.lines().next().is_none_or(|first| first.trim().is_empty()) {
        return fallback();
    }
    clip(text).to_owned()
}

fn is_plain(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else { return false };
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let charset_is_good =
        parts.filter_map(|p| p.split_once('=')).filter(|(k, _)| k.trim().eq_ignore_ascii_case("charset")).all(|(_, v)| {
            let v = v.trim().trim_matches('"');
            v.eq_ignore_ascii_case("utf-8") || v.eq_ignore_ascii_case("us-ascii")
        });
    kind.eq_ignore_ascii_case("text/plain") && charset_is_good
}

fn clip(text: &str) -> &str {
    let by_lines: usize = text.split_inclusive('\n').take(TEXT_LINES_MAX).map(str::len).sum();
    let mut end = by_lines.min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: &str, body: &[u8]) -> String {
        text(Some(content_type), body, false, || "ours".into())
    }

    #[test]
    fn a_plain_text_within_the_limits_passes_byte_for_byte() {
        let full = format!("{}\n", "x".repeat(TEXT_BYTES_MAX - 1));
        for body in ["not found: unknown revision\n", "a\r\n\n b\u{e9}", full.as_str(), "1\n2\n3\n4\n5\n6\n7\n8\n"] {
            assert_eq!(of("text/plain", body.as_bytes()), body);
            assert_eq!(of("Text/Plain; charset=\"UTF-8\"", body.as_bytes()), body);
        }
    }

    #[test]
    fn a_longer_text_is_clipped_at_a_character() {
        assert_eq!(of("text/plain", "x".repeat(601).as_bytes()), "x".repeat(600));
        assert_eq!(of("text/plain", format!("{}\u{e9}", "x".repeat(599)).as_bytes()), "x".repeat(599));
        assert_eq!(of("text/plain", b"1\n2\n3\n4\n5\n6\n7\n8\n9"), "1\n2\n3\n4\n5\n6\n7\n8\n");
        assert_eq!(text(Some("text/plain"), b"ab\xc3", true, || "ours".into()), "ab");
    }

    #[test]
    fn any_other_text_is_replaced_by_ours() {
        assert_eq!(of("text/html", b"<html>"), "ours");
        assert_eq!(of("text/plain; charset=latin-1", b"gone"), "ours");
        assert_eq!(of("text/plain", b"\xff"), "ours");
        assert_eq!(of("text/plain", b""), "ours");
        assert_eq!(of("text/plain", b" \nsecond"), "ours");
        assert_eq!(text(None, b"gone", false, || "ours".into()), "ours");
    }
}
