//! The rules for the names in a zip (`checkZip` of x/mod/zip).

use std::borrow::Cow;
use std::collections::HashMap;

use super::NODES_MAX;
use crate::module::path::check_file_path;
use crate::module::quote::quote;
use crate::module::unicode::fold;

/// Judges names one after the other; remembers them to find collisions.
#[derive(Default)]
pub(super) struct Names<'a> {
    /// The tree of all files and folders, keyed by parent and folded element: an element is hashed once, however deep it lies.
    nodes: HashMap<(u32, Cow<'a, str>), Node<'a>>,
}

struct Node<'a> {
    id: u32,
    /// As it was first written, from the root on.
    path: &'a str,
    is_folder: bool,
}

/// What a name stands for, without the `module@version/` prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named<'a> {
    Folder,
    File(&'a str),
}

/// The id of the root; nodes have theirs from 1 on.
const ROOT: u32 = 0;

impl<'a> Names<'a> {
    /// Judges one name, its prefix taken off. The error is the reason, as x/mod has it.
    pub(super) fn check(&mut self, name: &'a [u8]) -> Result<Named<'a>, String> {
        if name.is_empty() {
            return Ok(Named::Folder);
        }
        let (path, is_folder) = name.strip_suffix(b"/").map_or((name, false), |path| (path, true));
        if !is_clean(path) {
            return Err("file path is not clean".to_owned());
        }
        let malformed = |reason| format!("malformed file path {}: {reason}", quote(path));
        check_file_path(path).map_err(malformed)?;
        let path = std::str::from_utf8(path).map_err(|_| malformed("invalid UTF-8".to_owned()))?;
        self.check_collision(path, is_folder)?;
        if is_folder {
            return Ok(Named::Folder);
        }
        if path.rsplit('/').next().is_some_and(|base| base.eq_ignore_ascii_case("go.mod")) {
            match path {
                "go.mod" => {}
                _ if path.contains('/') => return Err("go.mod file not in module root directory".to_owned()),
                _ => return Err("go.mod files must have lowercase names".to_owned()),
            }
        }
        Ok(Named::File(path))
    }

    /// Puts a path and its folders into the tree; an error if one is there already as something else.
    fn check_collision(&mut self, path: &'a str, is_folder: bool) -> Result<(), String> {
        let mut parent = ROOT;
        // The deepest clash speaks, as in x/mod, which goes up from the file.
        let mut clash = None;
        let ends = path.match_indices('/').map(|(i, _)| i).chain([path.len()]);
        let mut start = 0;
        for end in ends {
            let (element, upto) = (&path[start..end], &path[..end]);
            let is_folder = is_folder || end < path.len();
            start = end + 1;
            let id = u32::try_from(self.nodes.len() + 1).ok().filter(|_| self.nodes.len() < NODES_MAX);
            match self.nodes.entry((parent, fold(element))) {
                std::collections::hash_map::Entry::Occupied(node) => {
                    let node = node.get();
                    parent = node.id;
                    clash = node.clash(upto, is_folder).or(clash);
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    let id = id.ok_or_else(|| format!("zip has too many files and folders (at most {NODES_MAX})"))?;
                    place.insert(Node { id, path: upto, is_folder });
                    parent = id;
                }
            }
        }
        clash.map_or(Ok(()), Err)
    }

    /// Whether the tree is full, so that nothing further can be judged.
    pub(super) fn is_full(&self) -> bool {
        self.nodes.len() >= NODES_MAX
    }
}

impl Node<'_> {
    fn clash(&self, path: &str, is_folder: bool) -> Option<String> {
        if self.path != path {
            return Some(format!("case-insensitive file name collision: {} and {}", quote(self.path), quote(path)));
        }
        if self.is_folder != is_folder {
            return Some(format!("entry {} is both a file and a directory", quote(path)));
        }
        (!is_folder).then(|| format!("multiple entries for file {}", quote(path)))
    }
}

/// The folder of a go.mod, however that is written, below the root.
pub(super) fn nested_module(name: &[u8]) -> Option<&str> {
    let (folder, base) = std::str::from_utf8(name).ok()?.rsplit_once('/')?;
    base.eq_ignore_ascii_case("go.mod").then_some(folder)
}

/// Whether Go's `path.Clean` would leave it as it is.
fn is_clean(path: &[u8]) -> bool {
    if path == b"/" || path == b"." {
        return true;
    }
    let (rooted, rest) = path.strip_prefix(b"/").map_or((false, path), |rest| (true, rest));
    let mut only_up = !rooted;
    rest.split(|&b| b == b'/').all(|elem| {
        let up = elem == b"..";
        let good = !elem.is_empty() && elem != b"." && (!up || only_up);
        only_up &= up;
        good
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_all(names: &[&'static str]) -> Vec<String> {
        let mut judge = Names::default();
        names.iter().filter_map(|name| judge.check(name.as_bytes()).err()).collect()
    }

    #[test]
    fn clean_is_what_go_calls_clean() {
        for clean in ["a", "a/b", "/", ".", "..", "../..", "../a", "/a", "..a", "a/.b"] {
            assert!(is_clean(clean.as_bytes()), "{clean}");
        }
        for dirty in ["", "a/", "a//b", "./a", "a/.", "a/..", "../a/..", "/..", "//", "/a/", "a/../b"] {
            assert!(!is_clean(dirty.as_bytes()), "{dirty}");
        }
    }

    #[test]
    fn collisions_are_found_and_the_deepest_is_named() {
        assert_eq!(check_all(&["a", "b/c", "b/", "b/d/", "b/d/e", "b/d/", ""]), Vec::<String>::new());
        assert_eq!(check_all(&["A/x", "a/x"]), [r#"case-insensitive file name collision: "A/x" and "a/x""#]);
        assert_eq!(check_all(&["A/x", "a/y"]), [r#"case-insensitive file name collision: "A" and "a""#]);
        assert_eq!(check_all(&["x", "x"]), [r#"multiple entries for file "x""#]);
        assert_eq!(check_all(&["x/y", "x"]), [r#"entry "x" is both a file and a directory"#]);
        assert_eq!(check_all(&["x", "x/y"]), [r#"entry "x" is both a file and a directory"#]);
        assert_eq!(check_all(&["K", "\u{212a}"]).len(), 1);
    }

    #[test]
    fn go_mod_stands_at_the_root_in_lower_case() {
        assert_eq!(check_all(&["go.mod"]), Vec::<String>::new());
        assert_eq!(check_all(&["GO.MOD"]), ["go.mod files must have lowercase names"]);
        assert_eq!(check_all(&["a/Go.mod", "b/go.mod"]), ["go.mod file not in module root directory"; 2]);
        assert_eq!(check_all(&["go.mod/"]), Vec::<String>::new());
    }
}
