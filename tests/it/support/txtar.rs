//! txtar, as golang.org/x/tools/txtar defines it: a comment, then files that each begin with a line `-- name --`.

/// A parsed archive. Files keep their order; one without a final newline is given it.
pub(crate) struct Archive {
    /// Everything before the first file.
    pub(crate) comment: String,
    /// Names and contents.
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

/// Parses an archive; there is no malformed one.
pub(crate) fn parse(text: &str) -> Archive {
    let mut archive = Archive { comment: String::new(), files: Vec::new() };
    for line in text.split_inclusive('\n') {
        if let Some(name) = marker(line) {
            archive.files.push((name.to_owned(), Vec::new()));
            continue;
        }
        match archive.files.last_mut() {
            Some((_, content)) => content.extend_from_slice(line.as_bytes()),
            None => archive.comment.push_str(line),
        }
    }
    for (_, content) in &mut archive.files {
        if content.last().is_some_and(|&b| b != b'\n') {
            content.push(b'\n');
        }
    }
    archive
}

fn marker(line: &str) -> Option<&str> {
    let name = line.trim_end_matches(['\n', '\r']).strip_prefix("-- ")?.strip_suffix(" --")?.trim();
    (!name.is_empty()).then_some(name)
}

#[test]
fn an_archive_is_a_comment_and_files() {
    let archive = parse("hello\nthere\n-- a.txt --\none\n-- dir/b --\n-- c --\nno newline");
    assert_eq!(archive.comment, "hello\nthere\n");
    let files: Vec<_> = archive.files.iter().map(|(name, content)| (name.as_str(), String::from_utf8_lossy(content))).collect();
    assert_eq!(files, [("a.txt", "one\n".into()), ("dir/b", "".into()), ("c", "no newline\n".into())]);
}
