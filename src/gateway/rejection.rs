//! A refusal on its way out, with what only the audit trail is told of it.

use super::Refusal;
use crate::hosted::{PublishRefusal, Unpublished};
use crate::module::{ModulePath, UserName, Version};
use crate::store::StoreError;

/// A refusal, and what the audit trail tells of it beside the request.
#[derive(Debug)]
pub struct Rejection {
    /// The refusal.
    pub refusal: Refusal,
    /// The module and version that it is about, where that is known and not what the URL says.
    pub of: Option<(ModulePath, Version)>,
    /// A word for why, where the refusal's rule alone says less.
    pub reason: Option<&'static str>,
    /// The user of the settings whom the credentials name that nobody was let in by.
    pub named: Option<UserName>,
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, of: None, reason: None, named: None }
    }
}

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<PublishRefusal> for Rejection {
    fn from(why: PublishRefusal) -> Self {
        Unpublished::from(why).into()
    }
}

impl From<Unpublished> for Rejection {
    fn from(Unpublished { of, why }: Unpublished) -> Self {
        let reason = Some(why.word());
        Self { refusal: why.into(), of, reason, named: None }
    }
}
