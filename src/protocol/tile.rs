//! Paths of checksum database tiles, as `tlog.ParseTilePath` of golang.org/x/mod has them, of height 8.

/// Highest level of a hash tile.
const LEVEL_MAX: u32 = 63;
/// Highest width of a partial tile.
const WIDTH_MAX: u32 = 255;

/// Whether `path` is what `tlog.Tile.Path` writes behind `tile/`: `8/{L|data}/{N}[.p/{W}]`, N in groups of three
/// digits, all but the last with an `x` before them, without leading zero groups.
pub(super) fn is_canonical(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("8/") else { return false };
    let Some((level, rest)) = rest.split_once('/') else { return false };
    let is_level = level == "data" || number(level).is_some_and(|n| n <= LEVEL_MAX);
    let index = match rest.split_once(".p/") {
        None => rest,
        Some((index, width)) if number(width).is_some_and(|w| (1..=WIDTH_MAX).contains(&w)) => index,
        Some(_) => return false,
    };
    let groups: Vec<&str> = index.split('/').collect();
    let Some((last, upper)) = groups.split_last() else { return false };
    // Six groups hold every number below 2^59; more would overflow somebody's 64 bits.
    is_level
        && groups.len() <= 6
        && upper.iter().all(|group| group.strip_prefix('x').is_some_and(three_digits))
        && three_digits(last)
        && upper.first().is_none_or(|first| *first != "x000")
}

fn three_digits(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit())
}

/// A decimal number as `strconv` writes it.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|n: &u32| n.to_string() == text)
}
