//! What is said of a judgement: to an operator everything, to a client one line that tells a stranger nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::rule::{Opened, Rule, Verdict, Where};
use crate::module::ModulePath;

/// The longest part of a module path that a refusal repeats, bytes: refusals stay under 600.
const MISS_PATH_BYTES_MAX: usize = 200;

/// Where credentials are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// The gateway's https address, as GOPROXY takes it.
    pub goproxy: String,
    /// Its host and port, as `~/.netrc` takes them.
    pub machine: String,
}

/// Whom a miss is told.
#[derive(Clone, Copy, Debug)]
pub enum Reader<'a> {
    /// Who has shown no credentials.
    Anonymous {
        /// Where they could; none if nowhere.
        sign_in: Option<&'a SignIn>,
        /// They came over https already, or over what may have been: the go command sends no credentials otherwise.
        https: bool,
    },
    /// Who has, by their name in logs.
    SignedIn(&'a str),
}

/// The body of a miss: one line, without a line end, the same whatever the rule and whatever is hosted.
///
/// `holds`: unknown hosts are held as private; that is said of every path then, or what is not said of a path would tell that something
/// is hosted near it.
pub fn miss_text(path: &ModulePath, reader: Reader<'_>, holds: bool) -> String {
    let path = path.as_str();
    // Paths are ASCII.
    let shown = path.get(..MISS_PATH_BYTES_MAX).map_or_else(|| path.to_owned(), |start| format!("{start}..."));
    let unknown = if holds { " (or at a host unknown here: see `modgate claim public`)" } else { "" };
    let start = format!("{shown} is private here{unknown} and not available to you");
    match reader {
        Reader::SignedIn(name) => format!("{start}, signed in as {name}; publish it, or ask for the right to read it"),
        Reader::Anonymous { sign_in: Some(SignIn { machine, .. }), https: true } => {
            format!("{start}; publish it, or sign in: machine {machine} in ~/.netrc")
        }
        Reader::Anonymous { sign_in: Some(SignIn { goproxy, machine }), https: false } => {
            format!("{start}; publish it, or sign in over https alone: GOPROXY={goproxy}, machine {machine} in ~/.netrc")
        }
        Reader::Anonymous { sign_in: None, .. } => format!("{start}; publish it, or sign in over https"),
    }
}

/// The command by which a developer keeps these hosts from the public checksum database: the same words wherever they are told.
/// `hosts`: a list as a shell takes it.
pub fn no_sumdb(hosts: &str) -> String {
    format!("go env -w GONOSUMDB={hosts}")
}

/// What `explain` calls a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExplainedClass {
    /// It may not leave.
    Private,
    /// It may leave.
    Public,
    /// It has hosted versions.
    Hosted,
}

impl ExplainedClass {
    fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
            Self::Hosted => "hosted",
        }
    }
}

/// A judgement as `explain` prints it: [`fmt::Display`] is the text, serde the JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked.
    pub module: ModulePath,
    /// What it is.
    pub class: ExplainedClass,
    /// The rule that decided.
    pub rule: Rule,
    /// Where that was set.
    #[serde(rename = "where")]
    pub where_: String,
    /// The pattern that decided.
    pub pattern: Option<String>,
    /// Whether the user that was named sees it; none if none was named.
    pub visible: Option<bool>,
    /// Of a public module: by what it is verified. Whoever knows the way upstream adds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<String>,
    /// What an operator may want to do about it, or should know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Explanation {
    /// Of a verdict; `visible` as in [`Explanation::visible`].
    pub fn new(verdict: &Verdict, visible: Option<bool>) -> Self {
        let class = match (verdict.is_hosted(), verdict.is_public()) {
            (true, _) => ExplainedClass::Hosted,
            (false, true) => ExplainedClass::Public,
            (false, false) => ExplainedClass::Private,
        };
        Self {
            module: verdict.path.clone(),
            class,
            rule: verdict.rule,
            where_: verdict.where_.to_string(),
            pattern: verdict.pattern.clone(),
            visible,
            verification: None,
            hint: verdict.hint(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.class.name(), self.module)?;
        writeln!(f, "rule: {}", self.rule)?;
        writeln!(f, "where: {}", self.where_)?;
        if let Some(pattern) = &self.pattern {
            writeln!(f, "pattern: {pattern}")?;
        }
        if let Some(visible) = self.visible {
            writeln!(f, "visible: {}", if visible { "yes" } else { "no" })?;
        }
        if let Some(verification) = &self.verification {
            writeln!(f, "verified: {verification}")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "hint: {hint}")?;
        }
        Ok(())
    }
}

impl Verdict {
    /// A line for whoever may see everything, an admin: it names what is hosted.
    pub fn hint(&self) -> Option<String> {
        if let Some(opened) = &self.opened {
            let by = if self.rule == Rule::Exception { "an exception opens it" } else { "a known module opens it" };
            return Some(format!("{}; {by}", opened.relation()));
        }
        match (self.rule, &self.where_) {
            (rule @ (Rule::Ancestor | Rule::Below), by) => {
                let relation = Opened { rule, by: by.clone() }.relation();
                Some(format!("{relation}; if it is a public module, private.public opens it"))
            }
            (Rule::Hosted, Where::Hosted(place)) if place.tombstone => {
                Some(format!("its last version was deleted; `modgate claim release {}` gives the path up", place.path))
            }
            (Rule::Hosted, Where::Hosted(place)) if place.path != self.path => {
                Some(format!("it differs only in case from {}, which is hosted here", place.path))
            }
            (Rule::Claim, Where::Claim { host, path, .. }) => Some(format!(
                "publishing {path} claimed {host}; `modgate claim release {host}` undoes it, and `modgate claim public {host}` after \
                     that says that it is a host of strangers"
            )),
            (Rule::UnknownHost, _) => Some(self.hint_of_unknown_host()),
            _ => None,
        }
    }

    fn hint_of_unknown_host(&self) -> String {
        let host = self.path.host().to_ascii_lowercase();
        let means = if self.is_public() { "says that it is no typo" } else { "lets it leave" };
        format!("nobody knows {host}: it is not listed, and no module of it was fetched here; `modgate claim public {host}` {means}")
    }
}

impl Opened {
    /// How the path lies to what would have kept it private: the end of a sentence that begins with the path.
    pub fn relation(&self) -> String {
        let side = if self.rule == Rule::Ancestor { "above" } else { "below, or in the repository of," };
        match &self.by {
            Where::Hosted(place) => {
                let state = if place.tombstone { "was hosted here until its last version was deleted" } else { "is hosted here" };
                format!("it lies {side} {}, which {state}", place.path)
            }
            Where::Setting { pattern, .. } => format!("the private pattern {pattern} spells it out, or a path below it"),
            Where::Key(_)
            | Where::Claim { .. }
            | Where::MadePublic { .. }
            | Where::Shipped
            | Where::KnownHost
            | Where::UnknownHostAllowed
            | Where::BuiltIn => format!("it lies {side} what is private"),
        }
    }
}
