//! What is believed of what comes from upstream, by the settings.

use std::sync::Arc;

use super::Vouch;
use crate::config::Sourced;
use crate::module::Pattern;

/// Who vouches for public modules, and for which nobody need.
#[derive(Clone)]
pub(super) enum Trust {
    /// Nobody: `upstream.verify = "off"`. Look-ups are kept as memos, since nobody verified them.
    Unchecked,
    /// Nobody here: for the client of a checksum database, which verifies what it asks for. A look-up is kept when it says so.
    Database,
    /// The voucher, for all but what the patterns match: `upstream.verify = "require"` and `upstream.unverified`.
    Required { voucher: Arc<dyn Vouch>, unverified: Arc<[Sourced<Pattern>]> },
}
