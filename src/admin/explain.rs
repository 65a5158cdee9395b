//! `explain`: which rule decides about a module.

use serde::{Deserialize, Serialize};

use super::{OperationError, Operations};
use crate::egress::{ExplainedClass, Explanation};
use crate::module::{ModulePath, version};

/// `explain`
#[derive(Debug, Serialize, Deserialize)]
pub struct Explain {
    /// `MODULE[@VERSION]`, or a repository's address
    pub module: String,
    /// Whose view to tell.
    pub user: Option<String>,
}

impl Operations {
    pub(super) async fn explain(&self, ask: Explain) -> Result<Explanation, OperationError> {
        let path = named(&ask.module)?;
        let verdict = self.policy.decide(&path).await?;
        let visible = match ask.user {
            None => None,
            Some(user) => {
                let name = user.parse().map_err(|e| OperationError::Bad(format!("{e}")))?;
                let who =
                    self.access.user(&name).ok_or_else(|| OperationError::Absent(format!("there is no user {user} in the settings")))?;
                let module = self.stores.records.module(&path).await?;
                Some(match module {
                    Some(module) => self.access.may_read(&who, &module.owner),
                    None => verdict.is_public() && self.access.may_read_public(&who),
                })
            }
        };
        let mut explanation = Explanation::new(&verdict, visible);
        explanation.verification = (explanation.class == ExplainedClass::Public).then(|| self.verification(&path));
        Ok(explanation)
    }

    /// By what a public module is, or would be, verified.
    fn verification(&self, path: &ModulePath) -> String {
        let upstream = &self.config.upstream;
        if upstream.is_believed() {
            return format!("off, upstream is believed: upstream.verify ({})", upstream.verify.source);
        }
        if let Some(pattern) = upstream.unverified(path) {
            return format!("none, upstream is believed: pattern {} of upstream.unverified ({})", pattern.value, pattern.source);
        }
        match &upstream.sumdb {
            Some(sumdb) => format!("by {}", sumdb.name),
            None => "nobody vouches for it: upstream.sumdb is off".to_owned(),
        }
    }
}

/// How the address of a repository may begin, where a browser or a clone is where it was copied from.
const SCHEMES: [&str; 4] = ["https", "http", "ssh", "git"];

/// The module that an operator names: its path, with or without a version or a branch, or the address of its repository.
fn named(text: &str) -> Result<ModulePath, OperationError> {
    let no_module = |why: String| {
        OperationError::Bad(format!(
            "{why}; name a module by its path, corp.example.com/lib, or with a version, corp.example.com/lib@v1.2.3"
        ))
    };
    let text = text.trim();
    let address = repository(text);
    let module = address.as_deref().unwrap_or(text);
    let (path, query) = match module.split_once('@') {
        Some((path, query)) => (path, Some(query)),
        None => (module, None),
    };
    // No proxy can be asked for a branch with a `/`; whether its module is private can be told all the same.
    if let Some(query) = query
        && query.split('/').any(|element| version::escape_query(element).is_err())
    {
        return Err(no_module(format!("{query:?} is neither a version nor a branch")));
    }
    path.parse().map_err(|e| match address {
        Some(_) => no_module(format!("{text} is the address of no module: {e}")),
        None => no_module(format!("{e}")),
    })
}

/// The module at the address of a repository, with what it says of a version or a branch: `HOST/PATH@main` of `https://HOST/PATH@main`,
/// `ssh://git@HOST/PATH.git@main` and `git@HOST:PATH.git@main`. `None` if it is no address.
fn repository(text: &str) -> Option<String> {
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if SCHEMES.contains(&scheme) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{}/{path}", authority.rsplit('@').next()?)
        }
        Some(_) => return None,
        None => {
            let (host, path) = text.split_once(':')?;
            format!("{}/{}", host.split_once('@').filter(|(_, host)| !host.contains('/'))?.1, path)
        }
    };
    let named = rest.split(['?', '#']).next()?.trim_end_matches('/');
    let (path, query) = named.split_at(named.find('@').unwrap_or(named.len()));
    Some([path.strip_suffix(".git").unwrap_or(path), query].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_in_all_the_ways_that_people_copy_it() {
        for (text, path) in [
            ("corp.example.com/lib", "corp.example.com/lib"),
            (" corp.example.com/lib@v1.2.3\n", "corp.example.com/lib"),
            ("corp.example.com/lib@main", "corp.example.com/lib"),
            ("corp.example.com/lib@latest", "corp.example.com/lib"),
            ("corp.example.com/lib.git", "corp.example.com/lib.git"),
            ("https://corp.example.com/lib", "corp.example.com/lib"),
            ("https://corp.example.com/lib/?tab=readme#x", "corp.example.com/lib"),
            ("https://corp.example.com/lib.git", "corp.example.com/lib"),
            ("https://alice@corp.example.com/lib@v1.0.0", "corp.example.com/lib"),
            ("ssh://git@corp.example.com/team/lib.git", "corp.example.com/team/lib"),
            ("git@corp.example.com:team/lib.git", "corp.example.com/team/lib"),
            ("https://corp.example.com", "corp.example.com"),
            ("corp.example.com/lib@feature/x", "corp.example.com/lib"),
            ("https://corp.example.com/lib@feature/x", "corp.example.com/lib"),
            ("ssh://git@corp.example.com/team/lib.git@feature/x", "corp.example.com/team/lib"),
            ("git@corp.example.com:team/lib.git@feature/x", "corp.example.com/team/lib"),
        ] {
            assert_eq!(named(text).unwrap().as_str(), path, "{text}");
        }
        for text in [
            "",
            "not a path",
            "corp.example.com/lib@",
            "https://corp.example.com/lib@",
            "corp.example.com/lib/@v/v1.0.0.zip",
            "https://go.example.com/corp.example.com/lib/@v/v1.0.0.zip",
            "https://corp.example.com:8443/lib",
            "ftp://corp.example.com/lib",
            "git@corp.example.com",
        ] {
            let told = named(text).unwrap_err();
            assert!(matches!(&told, OperationError::Bad(why) if why.contains("name a module by its path")), "{text}: {told}");
        }
    }
}
