//! What is asked for, and where at an upstream it is.

use url::Url;

use crate::config::Hop;
use crate::egress::PublicPath;
use crate::module::{ModulePath, Version};
use crate::observe::metrics::UpstreamRole;
use crate::protocol::ModuleAsk;
use crate::tlog::Tile;

/// What an upstream is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// A module.
    Module(&'a PublicPath, &'a ModuleAsk),
    /// A record of a checksum database, by its name.
    Lookup(&'a str, &'a PublicPath, &'a Version),
    /// A tile of a checksum database.
    Tile(&'a str, Tile),
    /// The newest signed head of a checksum database.
    Head(&'a str),
}

impl<'a> Target<'a> {
    pub(super) fn path(self) -> Option<&'a ModulePath> {
        match self {
            Self::Module(public, _) | Self::Lookup(_, public, _) => Some(public.path()),
            Self::Tile(..) | Self::Head(_) => None,
        }
    }

    /// The checksum database that it is about, by its name.
    fn database(self) -> Option<&'a str> {
        match self {
            Self::Module(..) => None,
            Self::Lookup(name, ..) | Self::Tile(name, _) | Self::Head(name) => Some(name),
        }
    }

    pub(super) fn role(self) -> UpstreamRole {
        match self {
            Self::Module(..) => UpstreamRole::Modules,
            Self::Lookup(..) | Self::Tile(..) | Self::Head(_) => UpstreamRole::Sumdb,
        }
    }
}

/// What a checksum database is asked by way of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// A module proxy: below `sumdb/` and its name.
    Proxy,
    /// None: it is asked itself.
    Database,
}

/// Its URL at this upstream; `None`: it has none.
pub(super) fn url_of(hop: &Hop, base: Base, target: Target<'_>) -> Option<Url> {
    let mut url = hop.url.clone();
    url.set_query(None);
    url.set_fragment(None);
    {
        let mut segments = url.path_segments_mut().ok()?;
        segments.pop_if_empty();
        if let (Base::Proxy, Some(name)) = (base, target.database()) {
            segments.push("sumdb").extend(name.split('/'));
        }
        match target {
            Target::Module(public, ask) => {
                segments.extend(public.path().escaped().split('/')).extend(ask.file()?.split('/'));
            }
            Target::Lookup(_, public, version) => {
                segments.push("lookup");
                segments.extend(format!("{}@{}", public.path().escaped(), version.escaped()).split('/'));
            }
            Target::Tile(_, tile) => {
                segments.extend(tile.to_string().split('/'));
            }
            Target::Head(_) => {
                segments.push("latest");
            }
        }
    }
    Some(url)
}
