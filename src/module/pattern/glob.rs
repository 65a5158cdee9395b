//! `path.Match` of Go's standard library, to the letter: bytes outside classes, characters within.

/// The glob is malformed (`path.ErrBadPattern`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct Malformed;

/// Whether the glob matches all of the name (`path.Match`).
pub fn match_glob(glob: &str, name: &str) -> Result<bool, Malformed> {
    let (mut glob, mut name) = (glob.as_bytes(), name.as_bytes());
    while !glob.is_empty() {
        let (star, chunk, rest) = next_chunk(glob);
        glob = rest;
        if star && chunk.is_empty() {
            return Ok(!name.contains(&b'/'));
        }
        // The last chunk must use up the name.
        let enough = |left: &[u8]| left.is_empty() || !rest.is_empty();
        let mut found = match_chunk(chunk, name)?.filter(|left| enough(left));
        if star && found.is_none() {
            let within = name.iter().position(|&b| b == b'/').unwrap_or(name.len());
            for skip in 1..=within {
                found = match_chunk(chunk, &name[skip..])?.filter(|left| enough(left));
                if found.is_some() {
                    break;
                }
            }
        }
        match found {
            Some(left) => name = left,
            None => {
                check_syntax(rest)?;
                return Ok(false);
            }
        }
    }
    Ok(name.is_empty())
}

fn check_syntax(mut glob: &[u8]) -> Result<(), Malformed> {
    while !glob.is_empty() {
        let (_, chunk, rest) = next_chunk(glob);
        match_chunk(chunk, b"")?;
        glob = rest;
    }
    Ok(())
}

/// Whether stars come first, the text up to the next star outside a class, and what follows.
fn next_chunk(glob: &[u8]) -> (bool, &[u8], &[u8]) {
    let stars = glob.iter().take_while(|&&b| b == b'*').count();
    let glob = &glob[stars..];
    let mut in_class = false;
    let mut i = 0;
    while i < glob.len() {
        match glob[i] {
            b'\\' => i += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'*' if !in_class => break,
            _ => {}
        }
        i += 1;
    }
    let (chunk, rest) = glob.split_at(i.min(glob.len()));
    (stars > 0, chunk, rest)
}

/// Matches a chunk without stars against the beginning of the name; returns what is left of the name. The chunk is read to its
/// end even after a mismatch, to find errors.
fn match_chunk<'n>(mut chunk: &[u8], mut name: &'n [u8]) -> Result<Option<&'n [u8]>, Malformed> {
    let mut failed = false;
    while let Some((&first, after)) = chunk.split_first() {
        failed |= name.is_empty();
        match first {
            b'[' => {
                let (c, width) = if failed { ('\0', 0) } else { decode(name) };
                name = &name[width..];
                let (matched, rest) = match_class(after, c)?;
                chunk = rest;
                failed |= !matched;
            }
            b'?' => {
                if !failed {
                    failed = name[0] == b'/';
                    name = &name[decode(name).1..];
                }
                chunk = after;
            }
            _ => {
                let (&literal, rest) = if first == b'\\' { after.split_first().ok_or(Malformed)? } else { (&first, after) };
                if !failed {
                    failed = literal != name[0];
                    name = &name[1..];
                }
                chunk = rest;
            }
        }
    }
    Ok((!failed).then_some(name))
}

/// Reads a class behind its `[`: whether it takes in the character, and what follows the `]`.
fn match_class(mut chunk: &[u8], c: char) -> Result<(bool, &[u8]), Malformed> {
    let negated = chunk.first() == Some(&b'^');
    if negated {
        chunk = &chunk[1..];
    }
    let (mut matched, mut ranges) = (false, 0);
    loop {
        if ranges > 0 && chunk.first() == Some(&b']') {
            return Ok((matched != negated, &chunk[1..]));
        }
        let (low, high, rest) = next_range(chunk)?;
        chunk = rest;
        matched |= low <= c && c <= high;
        ranges += 1;
    }
}

fn next_range(chunk: &[u8]) -> Result<(char, char, &[u8]), Malformed> {
    let (low, rest) = class_char(chunk)?;
    match rest.split_first() {
        Some((b'-', rest)) => class_char(rest).map(|(high, rest)| (low, high, rest)),
        _ => Ok((low, low, rest)),
    }
}

/// One character of a class, possibly behind a `\`; something must follow it.
fn class_char(chunk: &[u8]) -> Result<(char, &[u8]), Malformed> {
    let chunk = match chunk.first() {
        None | Some(b'-' | b']') => return Err(Malformed),
        Some(b'\\') => &chunk[1..],
        Some(_) => chunk,
    };
    if chunk.is_empty() {
        return Err(Malformed);
    }
    let (c, width) = decode(chunk);
    if c == char::REPLACEMENT_CHARACTER && width == 1 || chunk.len() == width {
        return Err(Malformed);
    }
    Ok((c, &chunk[width..]))
}

/// The first character and its width; a byte that begins none is U+FFFD of width 1 (`utf8.DecodeRune`). `text` is not empty.
fn decode(text: &[u8]) -> (char, usize) {
    let head = &text[..text.len().min(4)];
    match head.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()) {
        Some(c) => (c, c.len_utf8()),
        None => (char::REPLACEMENT_CHARACTER, 1),
    }
}

/// Whether a class has a range of which exactly one end is an upper-case letter: putting the glob into lower case would change
/// what it takes in beyond case. The glob is well-formed.
pub(super) fn has_mixed_case_range(glob: &str) -> bool {
    let mut chunk = glob.as_bytes();
    while let Some((&first, after)) = chunk.split_first() {
        chunk = match first {
            b'\\' => after.get(1..).unwrap_or_default(),
            b'[' => {
                let mut class = after.strip_prefix(b"^").unwrap_or(after);
                while let Ok((low, high, rest)) = next_range(class) {
                    if low.is_ascii_uppercase() != high.is_ascii_uppercase() {
                        return true;
                    }
                    class = rest;
                    if class.first() == Some(&b']') {
                        break;
                    }
                }
                class.get(1..).unwrap_or_default()
            }
            _ => after,
        };
    }
    false
}
