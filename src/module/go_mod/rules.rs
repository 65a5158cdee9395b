//! What the directives of a go.mod mean (`modfile/rule.go`).

use super::syntax::{Line, Statement};
use super::{ERRORS_MAX, GoMod, GoModError, GoModErrors, Module, Replace, Require, Retract};
use crate::module::Version;
use crate::module::major::{check_path_major, split_path_version};
use crate::module::quote::{quote, unquote};
use crate::module::semver::{Parsed, canonical_version};

/// Takes directives in; gathers values and errors.
pub(super) struct Rules {
    strict: bool,
    file: GoMod,
    errors: Vec<GoModError>,
}

type Fault<T> = Result<T, String>;

impl Rules {
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, file: GoMod::default(), errors: Vec::new() }
    }

    pub(super) fn finish(self) -> Result<GoMod, GoModErrors> {
        if self.errors.is_empty() { Ok(self.file) } else { Err(GoModErrors(self.errors)) }
    }

    pub(super) fn add_all(&mut self, statements: &[Statement<'_>]) {
        for statement in statements {
            if self.errors.len() >= ERRORS_MAX {
                return;
            }
            match statement {
                Statement::Line(line) => {
                    if let Some((&verb, args)) = line.tokens.split_first() {
                        self.add(None, line, verb, args);
                    }
                }
                Statement::Block(head, lines) => self.add_block(head, lines),
            }
        }
    }

    fn add_block(&mut self, head: &Line<'_>, lines: &[Line<'_>]) {
        match head.tokens[..] {
            [verb @ ("module" | "godebug" | "require" | "exclude" | "replace" | "retract" | "tool" | "ignore")] => {
                for line in lines {
                    if self.errors.len() >= ERRORS_MAX {
                        return;
                    }
                    self.add(Some(head), line, verb, &line.tokens);
                }
            }
            _ if self.strict => self.fail(head, format!("unknown block type: {}", head.tokens.join(" "))),
            _ => {}
        }
    }

    fn add(&mut self, block: Option<&Line<'_>>, line: &Line<'_>, verb: &str, args: &[&str]) {
        if !self.strict && !matches!(verb, "go" | "module" | "retract" | "require" | "ignore") {
            return;
        }
        let added = match verb {
            "go" => self.add_go(args),
            "toolchain" => self.add_toolchain(args),
            "module" => self.add_module(block, line, args),
            "godebug" => self.add_godebug(args),
            "require" => parse_module(verb, args).map(|(path, version)| {
                self.file.require.push(Require { path, version, indirect: is_indirect(line) });
            }),
            "exclude" => parse_module(verb, args).map(|module| self.file.exclude.push(module)),
            "replace" => parse_replace(args).map(|replace| self.file.replace.push(replace)),
            "retract" => self.add_retract(block, line, args),
            "tool" => one_string(verb, args).map(|path| self.file.tool.push(path)),
            "ignore" => one_string(verb, args).map(|path| self.file.ignore.push(path)),
            _ => Err(format!("unknown directive: {verb}")),
        };
        if let Err(message) = added {
            self.fail(line, message);
        }
    }

    fn fail(&mut self, line: &Line<'_>, message: String) {
        self.errors.push(GoModError { line: line.start.line, column: line.start.column, message });
    }

    fn add_go(&mut self, args: &[&str]) -> Fault<()> {
        if self.file.go.is_some() {
            return Err("repeated go statement".to_owned());
        }
        let &[version] = args else {
            return Err("go directive expects exactly one argument".to_owned());
        };
        let known = if is_go_version(version) { Some(version) } else { lax_go_version(version).filter(|_| !self.strict) };
        let known = known.ok_or_else(|| format!("invalid go version '{version}': must match format 1.23.0"))?;
        self.file.go = Some(known.to_owned());
        Ok(())
    }

    fn add_toolchain(&mut self, args: &[&str]) -> Fault<()> {
        if self.file.toolchain.is_some() {
            return Err("repeated toolchain statement".to_owned());
        }
        let &[name] = args else {
            return Err("toolchain directive expects exactly one argument".to_owned());
        };
        if name != "default" && name != "go1" && !name.starts_with("go1.") {
            return Err(format!("invalid toolchain version '{name}': must match format go1.23.0 or default"));
        }
        self.file.toolchain = Some(name.to_owned());
        Ok(())
    }

    fn add_module(&mut self, block: Option<&Line<'_>>, line: &Line<'_>, args: &[&str]) -> Fault<()> {
        if self.file.module.is_some() {
            return Err("repeated module statement".to_owned());
        }
        let deprecated = deprecation(&directive_comment(block, line)).to_owned();
        let module = self.file.module.insert(Module { path: String::new(), deprecated });
        let &[path] = args else {
            return Err("usage: module module/path".to_owned());
        };
        module.path = parse_quoted(path)?;
        Ok(())
    }

    fn add_godebug(&mut self, args: &[&str]) -> Fault<()> {
        match args {
            &[arg] if !arg.contains(['"', '`', '\'', ',']) => arg.split_once('='),
            _ => None,
        }
        .map(|(key, value)| self.file.godebug.push((key.to_owned(), value.to_owned())))
        .ok_or_else(|| "usage: godebug key=value".to_owned())
    }

    fn add_retract(&mut self, block: Option<&Line<'_>>, line: &Line<'_>, args: &[&str]) -> Fault<()> {
        let (low, high, rest) = match parse_interval(args) {
            Ok(interval) => interval,
            Err(message) if self.strict => return Err(message),
            // A later go may know other forms.
            Err(_) => return Ok(()),
        };
        if self.strict
            && let Some(token) = rest.first()
        {
            return Err(format!("unexpected token after version: {}", quote(token)));
        }
        self.file.retract.push(Retract { low, high, rationale: directive_comment(block, line) });
        Ok(())
    }
}

/// `modfile.GoVersionRE`: `1.2`, `1.2.3`, each possibly with `rc4`.
fn is_go_version(text: &str) -> bool {
    let Some((_, mut rest)) = major_minor(text) else {
        return false;
    };
    if let Some(patch) = rest.strip_prefix('.') {
        match number(patch) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    let digits = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
    rest.is_empty() || digits.len() < rest.len() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// `modfile.laxGoVersionRE`: the `1.2` of what begins so, possibly behind a `v`, and goes on with something but a digit.
fn lax_go_version(text: &str) -> Option<&str> {
    let (version, rest) = major_minor(text.strip_prefix('v').unwrap_or(text))?;
    let mut behind = rest.chars();
    behind.next()?;
    (!behind.as_str().contains('\n')).then_some(version)
}

/// Two numbers at the beginning, the first not 0, and what follows, which is no digit.
fn major_minor(text: &str) -> Option<(&str, &str)> {
    let (major, rest) = number(text)?;
    let (_, rest) = number(rest.strip_prefix('.')?)?;
    (major != "0").then(|| (&text[..text.len() - rest.len()], rest))
}

/// Digits without a leading zero at the beginning, and what follows, which is no digit.
fn number(text: &str) -> Option<(&str, &str)> {
    let (digits, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    (!digits.is_empty() && (digits == "0" || !digits.starts_with('0'))).then_some((digits, rest))
}

/// A token as a string: bare, or in double quotes.
fn parse_string(token: &str) -> Fault<String> {
    if token.starts_with('"') {
        return unquote(token).ok_or_else(|| "invalid syntax".to_owned());
    }
    if token.contains(['"', '\'', '`']) {
        return Err("unquoted string cannot contain quote".to_owned());
    }
    Ok(token.to_owned())
}

fn parse_quoted(token: &str) -> Fault<String> {
    parse_string(token).map_err(|e| format!("invalid quoted string: {e}"))
}

fn one_string(verb: &str, args: &[&str]) -> Fault<String> {
    let &[arg] = args else {
        return Err(format!("{verb} directive expects exactly one argument"));
    };
    parse_quoted(arg)
}

/// A version, made canonical.
fn parse_version(verb: &str, path: &str, token: &str) -> Fault<Version> {
    let at = if path.is_empty() { format!("{verb}: ") } else { format!("{verb} {path}: ") };
    let text = parse_string(token).map_err(|e| format!("{at}version {} invalid: {e}", quote(token)))?;
    canonical_version(&text).parse().map_err(|_| format!("{at}version {} invalid: must be of the form v1.2.3", quote(&text)))
}

fn path_major(path: &str) -> Fault<&str> {
    split_path_version(path).map(|(_, major)| major).ok_or_else(|| "invalid module path".to_owned())
}

fn check_major(verb: &str, path: &str, major: &str, version: &Version) -> Fault<()> {
    let Some(parsed) = Parsed::parse(version.as_str()) else { return Ok(()) };
    check_path_major(&parsed, major).map_err(|expected| {
        let at = if path.is_empty() { format!("{verb}: ") } else { format!("{verb} {path}: ") };
        format!("{at}version {} invalid: should be {expected}, not {}", quote(version.as_str()), parsed.major_text())
    })
}

fn parse_module(verb: &str, args: &[&str]) -> Fault<(String, Version)> {
    let &[path, version] = args else {
        return Err(format!("usage: {verb} module/path v1.2.3"));
    };
    let path = parse_quoted(path)?;
    let version = parse_version(verb, &path, version)?;
    check_major(verb, &path, path_major(&path)?, &version)?;
    Ok((path, version))
}

fn parse_replace(args: &[&str]) -> Fault<Replace> {
    const VERB: &str = "replace";
    let (old, new) = match args {
        [path, "=>", new @ ..] => ((path, None), new),
        [path, version, "=>", new @ ..] => ((path, Some(version)), new),
        _ => return Err(replace_usage()),
    };
    let (&new_path, new_version) = match new {
        [path] => (path, None),
        [path, version] => (path, Some(version)),
        _ => return Err(replace_usage()),
    };
    let old_path = parse_quoted(old.0)?;
    let at = if old_path.is_empty() { format!("{VERB}: ") } else { format!("{VERB} {old_path}: ") };
    let major = path_major(&old_path).map_err(|e| format!("{at}{e}"))?;
    let old_version = match old.1 {
        Some(version) => {
            let version = parse_version(VERB, &old_path, version)?;
            check_major(VERB, &old_path, major, &version)?;
            Some(version)
        }
        None => None,
    };
    let new_path = parse_quoted(new_path)?;
    let Some(new_version) = new_version else {
        if !is_folder(&new_path) {
            return Err(if new_path.contains('@') {
                "replacement module must match format 'path version', not 'path@version'".to_owned()
            } else {
                "replacement module without version must be directory path (rooted or starting with . or ..)".to_owned()
            });
        }
        if new_path.contains('\\') {
            return Err("replacement directory appears to be Windows path (on a non-windows system)".to_owned());
        }
        return Ok(Replace { old_path, old_version, new_path, new_version: None });
    };
    let new_version = Some(parse_version(VERB, &new_path, new_version)?);
    if is_folder(&new_path) {
        return Err(format!("replacement module directory path {} cannot have version", quote(&new_path)));
    }
    Ok(Replace { old_path, old_version, new_path, new_version })
}

fn replace_usage() -> String {
    "usage: replace module/path [v1.2.3] => other/module v1.4\n\t or replace module/path [v1.2.3] => ../local/directory".to_owned()
}

/// Whether a replacement is a folder (`modfile.IsDirectoryPath`): rooted, or beginning with `.` or `..`, on any system.
fn is_folder(path: &str) -> bool {
    let dots = path == "." || path == ".." || ["./", ".\\", "../", "..\\", "/", "\\"].iter().any(|p| path.starts_with(p));
    let drive = path.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && path.as_bytes().get(1) == Some(&b':');
    dots || drive
}

/// One version, or `[ low , high ]`: the bounds as written, and the tokens behind.
fn parse_interval<'t, 'a>(tokens: &'t [&'a str]) -> Fault<(String, String, &'t [&'a str])> {
    let string = |token: &str| parse_string(token).map_err(|e| format!("retract: version {} invalid: {e}", quote(token)));
    let (first, rest) = match tokens.split_first() {
        None | Some((&"(", _)) => return Err("expected '[' or version".to_owned()),
        Some(split) => split,
    };
    if *first != "[" {
        let version = string(first)?;
        return Ok((version.clone(), version, rest));
    }
    let (low, rest) = rest.split_first().ok_or("expected version after '['")?;
    let low = string(low)?;
    let Some((&",", rest)) = rest.split_first() else {
        return Err("expected ',' after version".to_owned());
    };
    let (high, rest) = rest.split_first().ok_or("expected version after ','")?;
    let high = string(high)?;
    let Some((&"]", rest)) = rest.split_first() else {
        return Err("expected ']' after version".to_owned());
    };
    Ok((low, high, rest))
}

/// Whether the line has the comment `// indirect`, possibly with more behind a semicolon.
fn is_indirect(line: &Line<'_>) -> bool {
    let Some(comment) = line.comments.suffix.first() else {
        return false;
    };
    let mut words = comment.strip_prefix("//").unwrap_or(comment).split_whitespace();
    matches!((words.next(), words.next()), (Some("indirect"), None) | (Some("indirect;"), Some(_)))
}

/// The comments on a directive; those of its block if it has none itself.
fn directive_comment(block: Option<&Line<'_>>, line: &Line<'_>) -> String {
    let own = &line.comments;
    let comments = match block {
        Some(block) if own.before.is_empty() && own.suffix.is_empty() => &block.comments,
        _ => own,
    };
    let lines: Vec<_> = comments.before.iter().chain(&comments.suffix).filter_map(|c| c.strip_prefix("//")).map(str::trim).collect();
    lines.join("\n")
}

/// What stands behind the first `Deprecated:` that begins a paragraph, to the paragraph's end.
fn deprecation(comment: &str) -> &str {
    const MARK: &str = "Deprecated:";
    let begins = |&(at, _): &(usize, &str)| at == 0 || comment[..at].ends_with("\n\n");
    let Some((at, _)) = comment.match_indices(MARK).find(begins) else {
        return "";
    };
    let text = comment[at + MARK.len()..].trim_start_matches(' ');
    &text[..text.find("\n\n").unwrap_or(text.len())]
}
