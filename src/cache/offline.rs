//! What is said of a module while upstream fails: the last answer, whatever its age, and what the cache holds.
//!
//! A version counts as held when its zip is; where no zip is, with any of its files. So what a list or `@latest` offers can
//! be had as far as possible: a version of which only the `.mod` came along would fail the command that chose it, which may
//! have worked before by another. Nothing of this is kept.
//!
//! A last list that cannot be read is as none: the held versions alone answer. An `@latest` that cannot be read is a failure.
//!
//! A list is united with what is held, since the go command chooses from it. `@latest` is what upstream said last, and only where it
//! was never asked the highest held version. The go command asks for it when the list offers nothing that it may take: there are no
//! tags, or all are retracted. Then a version is held that somebody asked for by name, of a branch or retracted, and upstream's word
//! is the one by which the command worked before.

use std::collections::BTreeMap;

use bytes::Bytes;
use time::format_description::well_known::Rfc3339;

use crate::module::version::{latest, of_revision};
use crate::module::{ModulePath, Version};
use crate::protocol::ModuleAsk;

use super::memo::sha256;
use super::place::Asset;
use super::shelf::{Answer, Content, Kept, strong};
use super::versions::Versions;
use super::{CacheError, CacheStatus, Inner, Resolved, resolved};

impl Inner {
    /// The answer while upstream fails; `last`: upstream's last one, which is what it comes to where nothing is to be added. `None`:
    /// there is none.
    ///
    /// # Errors
    ///
    /// [`CacheError::Storage`]: what is held cannot be read.
    pub(super) async fn offline(&self, asset: &Asset, last: Option<&Answer>) -> Result<Option<Resolved>, CacheError> {
        let last = last.map(|answer| answer.kept.clone());
        if let Some(made) = self.made_of_what_is_held(asset, last.as_ref()).await? {
            let kept = Kept::Found { etag: Some(strong(&sha256(&made))), content: Content::Bytes(made) };
            return Ok(Some(resolved(asset, kept, CacheStatus::Offline)));
        }
        Ok(last.map(|kept| resolved(asset, kept, CacheStatus::Stale)))
    }

    async fn made_of_what_is_held(&self, asset: &Asset, last: Option<&Kept>) -> Result<Option<Bytes>, CacheError> {
        let Asset::Module(path, ask) = asset else { return Ok(None) };
        let version = match (ask, last) {
            (ModuleAsk::List, Some(Kept::Found { content, .. })) => return self.united(path, Some(content.clone())).await,
            (ModuleAsk::List, None) => return self.united(path, None).await,
            (ModuleAsk::Latest, None) => match latest(self.held(path).await?.offered()).cloned() {
                Some(version) => Some(version),
                None => self.highest_listed(path).await?,
            },
            (ModuleAsk::Query(query), None) => of_revision(self.held(path).await?.all(), query).cloned(),
            (ModuleAsk::Info(version), None) => self.held(path).await?.contains(version).then(|| version.clone()),
            _ => None,
        };
        match version {
            Some(version) => self.info(path, version).await.map(Some),
            None => Ok(None),
        }
    }

    async fn held(&self, path: &ModulePath) -> Result<Versions, CacheError> {
        let path = path.clone();
        let held = self.stock.on_disk(move |shelf| Ok(shelf.versions(&path))).await;
        held.map_err(|e| unreadable(&e))?.map_err(|e| unreadable(&e))
    }

    /// The last list and the held versions; `None` if these add nothing.
    async fn united(&self, path: &ModulePath, last: Option<Content>) -> Result<Option<Bytes>, CacheError> {
        let held = self.held(path).await?;
        let mut lines = match last {
            Some(last) => self.lines(last).await?,
            None => BTreeMap::new(),
        };
        let before = lines.len();
        for version in held.offered().filter(|version| !version.is_pseudo()) {
            lines.entry(version.clone()).or_insert_with(|| version.to_string());
        }
        Ok((lines.len() > before).then(|| lines.into_values().map(|line| line + "\n").collect::<String>().into()))
    }

    /// The lines of a list that was judged when it came, by version.
    async fn lines(&self, list: Content) -> Result<BTreeMap<Version, String>, CacheError> {
        let bytes = self.stock.whole(list).await?;
        // As it was judged, it is.
        let text = std::str::from_utf8(&bytes).map_err(|e| unreadable(&e))?;
        let version_of = |line: &str| line.split_ascii_whitespace().next()?.parse().ok();
        Ok(text.lines().filter_map(|line| Some((version_of(line)?, line.to_owned()))).collect())
    }

    async fn highest_listed(&self, path: &ModulePath) -> Result<Option<Version>, CacheError> {
        let list = self.stock.look_up(&Asset::Module(path.clone(), ModuleAsk::List)).await?;
        let Some(Kept::Found { content, .. }) = list.as_ref().map(|list| &list.kept) else { return Ok(None) };
        let lines = self.lines(content.clone()).await?;
        Ok(latest(lines.keys()).cloned())
    }

    /// `.info`, as upstream gave it; else what the version itself says.
    async fn info(&self, path: &ModulePath, version: Version) -> Result<Bytes, CacheError> {
        let asset = Asset::Module(path.clone(), ModuleAsk::Info(version.clone()));
        if let Some(answer) = self.stock.look_up(&asset).await?
            && let Kept::Found { content: Content::Bytes(bytes), .. } = &answer.kept
        {
            return Ok(bytes.clone());
        }
        let time = version.commit_time().and_then(|time| time.format(&Rfc3339).ok());
        let info = match time {
            Some(time) => serde_json::json!({ "Version": version, "Time": time }),
            None => serde_json::json!({ "Version": version }),
        };
        Ok(info.to_string().into())
    }
}

fn unreadable(error: &dyn std::error::Error) -> CacheError {
    CacheError::Storage(format!("cannot read what is cached: {error}"))
}
