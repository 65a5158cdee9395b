//! What is believed of what comes from upstream, by the settings.

use std::sync::Arc;

use super::Part;
use super::place::Asset;
use super::voucher::Voucher;
use crate::config::Sourced;
use crate::module::{ModulePath, Pattern, Version};
use crate::protocol::ModuleAsk;

/// Who vouches for public modules, and for which nobody need.
#[derive(Clone)]
pub(super) enum Trust {
    /// Nobody: `upstream.verify = "off"`. Look-ups are kept as memos, since nobody verified them.
    Unchecked,
    /// Nobody here: for the client of a checksum database, which verifies what it asks for. A look-up is kept when it says so.
    Database,
    /// The voucher, for all but what the patterns match: `upstream.verify = "require"` and `upstream.unverified`.
    Required { voucher: Voucher, unverified: Arc<[Sourced<Pattern>]> },
}

/// What somebody is to vouch for, of an asset.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    /// That a file is what it is to be.
    File(&'a ModulePath, &'a Version, Part),
    /// That the version exists which a branch or a hash resolves to.
    Resolved(&'a ModulePath),
}

impl Trust {
    /// Who is to vouch for this asset, and for what of it. None: it is believed as it is.
    pub(super) fn due<'a>(&self, asset: &'a Asset) -> Option<(&Voucher, Subject<'a>)> {
        let Self::Required { voucher, unverified } = self else { return None };
        let (path, subject) = match asset {
            Asset::Module(path, ModuleAsk::Zip(version)) => (path, Subject::File(path, version, Part::Zip)),
            Asset::Module(path, ModuleAsk::Mod(version)) => (path, Subject::File(path, version, Part::Mod)),
            Asset::Module(path, ModuleAsk::Query(_)) => (path, Subject::Resolved(path)),
            Asset::Module(..) | Asset::Sumdb(..) => return None,
        };
        let believed = unverified.iter().any(|pattern| pattern.value.matches(path.as_str()));
        (!believed).then_some((voucher, subject))
    }

    /// The database whose records count.
    pub(super) fn database(&self) -> Option<&str> {
        match self {
            Self::Required { voucher, .. } => Some(voucher.asked.database()),
            Self::Unchecked | Self::Database => None,
        }
    }
}
