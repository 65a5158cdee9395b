//! `refresh`: what an operator wants to be asked again now.

use serde::{Deserialize, Serialize};

use super::{OPERATOR, OperationError, Operations};
use crate::cache::CacheError;
use crate::module::{ModulePath, Version};
use crate::store::StoreError;

/// `refresh`
#[derive(Debug, Serialize, Deserialize)]
pub struct RefreshAsk {
    /// The module.
    pub module: ModulePath,
    /// One version of it.
    pub version: Option<Version>,
}

/// What upstream said now.
#[derive(Debug, Serialize, Deserialize)]
pub struct RefreshLine {
    /// What was asked for, below the module's path: `@v/list`.
    pub file: String,
    /// 200, 404 or 410; `None`: upstream failed, and what was known before is known still.
    pub status: Option<u16>,
    /// How it failed.
    pub error: Option<String>,
}

impl Operations {
    pub(super) async fn refresh(&self, ask: RefreshAsk) -> Result<Vec<RefreshLine>, OperationError> {
        let RefreshAsk { module, version } = ask;
        if !self.policy.decide(&module).await?.is_public() {
            return Err(OperationError::Refused(format!(
                "{module} is private: upstream is not asked for it; see `modgate explain {module}`"
            )));
        }
        if self.config.upstream.goproxy.is_empty() {
            return Err(OperationError::Refused("upstream is off: nobody can be asked; what is cached stays".to_owned()));
        }
        let renewed = self.cache.refresh(&module, version.as_ref(), OPERATOR).await;
        let renewed = renewed.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        let error = |outcome: &Result<u16, CacheError>| outcome.as_ref().err().map(ToString::to_string);
        Ok(renewed.into_iter().map(|one| RefreshLine { error: error(&one.outcome), status: one.outcome.ok(), file: one.file }).collect())
    }
}
