//! What is said of a module while upstream fails: the last answer, whatever its age, and what the cache holds.
//!
//! A version counts as held when its zip is; where no zip is, with any of its files. So what a list or `@latest` offers can
//! be had as far as possible: a version of which only the `.mod` came along would fail the command that chose it, which may
//! have worked before by another. Nothing of this is kept.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use time::format_description::well_known::Rfc3339;

use crate::module::version::{latest, of_revision};
use crate::module::{ModulePath, Version};
use crate::observe::spawn_blocking;
use crate::protocol::ModuleAsk;

use super::memo::sha256;
use super::place::{Asset, files_of_version};
use super::shelf::{Answer, Content, Kept, Shelf, strong};
use super::{CacheStatus, Inner, Resolved, resolved};

impl Inner {
    /// The answer while upstream fails; `last`: upstream's last one, which is what it comes to where nothing is to be added.
    pub(super) async fn offline(&self, asset: &Asset, last: Option<&Answer>) -> Option<Resolved> {
        let last = last.map(|answer| answer.kept.clone());
        if let Some(made) = self.made_of_what_is_held(asset, last.as_ref()).await {
            let kept = Kept::Found { etag: Some(strong(&sha256(&made))), content: Content::Bytes(made) };
            return Some(resolved(asset, kept, CacheStatus::Offline));
        }
        last.map(|kept| resolved(asset, kept, CacheStatus::Stale))
    }

    async fn made_of_what_is_held(&self, asset: &Asset, last: Option<&Kept>) -> Option<Bytes> {
        let Asset::Module(path, ask) = asset else { return None };
        match (ask, last) {
            (ModuleAsk::List, Some(Kept::Found { content, .. })) => self.united(path, Some(content.clone())).await,
            (ModuleAsk::List, None) => self.united(path, None).await,
            (ModuleAsk::Latest, None) => {
                let version = match latest(offered(&self.held(path).await)).cloned() {
                    Some(version) => version,
                    None => self.highest_listed(path).await?,
                };
                self.info(path, version).await
            }
            (ModuleAsk::Query(query), None) => {
                let held = self.held(path).await;
                let version = of_revision(held.keys(), query)?.clone();
                self.info(path, version).await
            }
            (ModuleAsk::Info(version), None) if self.held(path).await.contains_key(version) => self.info(path, version.clone()).await,
            _ => None,
        }
    }

    async fn held(&self, path: &ModulePath) -> Held {
        let path = path.clone();
        self.stock.on_disk(move |shelf| Ok(shelf.held(&path))).await.unwrap_or_default()
    }

    /// The last list and the held versions; `None` if these add nothing.
    async fn united(&self, path: &ModulePath, last: Option<Content>) -> Option<Bytes> {
        let held = self.held(path).await;
        let mut lines: BTreeMap<Version, String> = match last {
            Some(last) => self.lines(last).await?,
            None => BTreeMap::new(),
        };
        let before = lines.len();
        for version in offered(&held).filter(|version| !version.is_pseudo()) {
            lines.entry(version.clone()).or_insert_with(|| version.to_string());
        }
        (lines.len() > before).then(|| lines.into_values().map(|line| line + "\n").collect::<String>().into())
    }

    /// The lines of a list that was judged when it came, by version.
    async fn lines(&self, list: Content) -> Option<BTreeMap<Version, String>> {
        let bytes = match list {
            Content::Bytes(bytes) => bytes,
            Content::File { file, from, len } => {
                let _turn = self.stock.flights.big_bodies.acquire().await;
                let mut bytes = vec![0; usize::try_from(len).ok()?];
                let read = spawn_blocking(move || file.read_exact_at(&mut bytes, from).map(|()| bytes));
                read.await.ok()?.ok()?.into()
            }
        };
        let text = std::str::from_utf8(&bytes).ok()?;
        let version_of = |line: &str| line.split_ascii_whitespace().next()?.parse().ok();
        Some(text.lines().filter_map(|line| Some((version_of(line)?, line.to_owned()))).collect())
    }

    async fn highest_listed(&self, path: &ModulePath) -> Option<Version> {
        let list = self.stock.look_up(&Asset::Module(path.clone(), ModuleAsk::List)).await?;
        let Kept::Found { content, .. } = &list.kept else { return None };
        let lines = self.lines(content.clone()).await?;
        latest(lines.keys()).cloned()
    }

    /// `.info`, as upstream gave it; else what the version itself says.
    async fn info(&self, path: &ModulePath, version: Version) -> Option<Bytes> {
        let asset = Asset::Module(path.clone(), ModuleAsk::Info(version.clone()));
        if let Some(answer) = self.stock.look_up(&asset).await
            && let Kept::Found { content: Content::Bytes(bytes), .. } = &answer.kept
        {
            return Some(bytes.clone());
        }
        let time = version.commit_time().and_then(|time| time.format(&Rfc3339).ok());
        let info = match time {
            Some(time) => serde_json::json!({ "Version": version, "Time": time }),
            None => serde_json::json!({ "Version": version }),
        };
        Some(info.to_string().into())
    }
}

/// The cached versions of a module, and whether a version's zip is there.
type Held = BTreeMap<Version, bool>;

/// Those that a command may choose among.
fn offered(held: &Held) -> impl Iterator<Item = &Version> + Clone {
    let any_zip = held.values().any(|zip| *zip);
    held.iter().filter(move |(_, zip)| **zip || !any_zip).map(|(version, _)| version)
}

impl Shelf {
    /// The cached versions of this very module: one look into one folder.
    fn held(&self, path: &ModulePath) -> Held {
        let mut held = Held::new();
        let Ok(folder) = fs::read_dir(self.index.path(&files_of_version(path))) else { return held };
        for name in folder.flatten().map(|item| item.file_name()) {
            let Some((version, ext)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
            let is_zip = match ext {
                "zip" => true,
                "info" | "mod" => false,
                _ => continue,
            };
            let Ok(version) = Version::unescape(version) else { continue };
            *held.entry(version).or_default() |= is_zip;
        }
        held
    }
}
