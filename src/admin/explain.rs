//! `explain`: which rule decides about a module.

use serde::{Deserialize, Serialize};

use super::{OperationError, Operations};
use crate::egress::{ExplainedClass, Explanation};
use crate::module::{ModulePath, Version};

/// `explain`
#[derive(Debug, Serialize, Deserialize)]
pub struct Explain {
    /// `MODULE[@VERSION]`
    pub module: String,
    /// Whose view to tell.
    pub user: Option<String>,
}

impl Operations {
    pub(super) async fn explain(&self, ask: Explain) -> Result<Explanation, OperationError> {
        let (path, version) = match ask.module.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (ask.module.as_str(), None),
        };
        let path: ModulePath = path.parse().map_err(|e| OperationError::Bad(format!("{e}")))?;
        if let Some(version) = version {
            version.parse::<Version>().map_err(|e| OperationError::Bad(format!("{e}")))?;
        }
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
