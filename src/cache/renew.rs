//! Asking again what a module was asked before, and forgetting it: the memory of what changes, lists and absences. What never
//! changes is not touched.

use std::{fs, io};

use futures::StreamExt as _;

use crate::module::{ModulePath, Version};
use crate::protocol::ModuleAsk;

use super::fill::Filled;
use super::index::is_gone;
use super::place::{Asset, absences_of, ask_of_key, ask_of_memo, memos_of_version};
use super::shelf::{Kept, Shelf};
use super::{Cache, CacheError};

/// So many questions of one module at once.
const AT_ONCE: usize = 4;

/// What a question came to when it was asked again.
#[derive(Debug)]
pub struct Renewed {
    /// What stands behind the module's path: `@v/list`.
    pub file: String,
    /// The status of upstream's answer: 200, 404 or 410. When it failed, what was kept before is kept still.
    pub outcome: Result<u16, CacheError>,
}

impl Cache {
    /// Asks upstream again for the list, `@latest`, and every branch and absence that is remembered of this very module; with a
    /// version, for what is remembered of it alone. `principal`: for whom, as it stands in the egress ledger.
    ///
    /// # Errors
    ///
    /// [`CacheError::Storage`]: what is remembered cannot be told.
    pub async fn refresh(&self, path: &ModulePath, version: Option<&Version>, principal: &str) -> Result<Vec<Renewed>, CacheError> {
        let asks = self.remembered(path).await?.into_iter().filter(|ask| version.is_none_or(|version| is_of(ask, version)));
        let mut asks: Vec<_> = asks.filter(|ask| !matches!(ask, ModuleAsk::List | ModuleAsk::Latest)).collect();
        if version.is_none() {
            asks.extend([ModuleAsk::List, ModuleAsk::Latest]);
        }
        let renewed = futures::stream::iter(asks).map(|ask| async move {
            let file = ask.file().unwrap_or_default();
            let asset = Asset::Module(path.clone(), ask);
            let outcome = match self.inner.filled(&asset, principal, true).await {
                Ok(Filled::Came { kept: Kept::Absent(absent), .. }) => Ok(absent.status),
                Ok(_) => Ok(200),
                Err(e) => Err(e),
            };
            Renewed { file, outcome }
        });
        let mut renewed: Vec<_> = renewed.buffer_unordered(AT_ONCE).collect().await;
        renewed.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(renewed)
    }

    /// Forgets the list, `@latest`, branches and absences of this very module: from now on it is another one of that name.
    pub async fn forget(&self, path: &ModulePath) {
        let asks = self.remembered(path).await.unwrap_or_else(|error| {
            tracing::warn!(%path, %error, "answers that do not count any more cannot be forgotten");
            Vec::new()
        });
        for ask in asks {
            let asset = Asset::Module(path.clone(), ask);
            let forgotten = self.inner.stock.write(&asset, |shelf, asset| {
                shelf.forget_dated(&asset.place());
                Ok(())
            });
            if let Err(error) = forgotten.await {
                tracing::warn!(%asset, %error, "an answer that does not count any more cannot be forgotten");
            }
        }
    }

    async fn remembered(&self, path: &ModulePath) -> Result<Vec<ModuleAsk>, CacheError> {
        let of = path.clone();
        let cannot = |e: &dyn std::error::Error| CacheError::Storage(format!("cannot tell what is remembered of {path}: {e}"));
        let remembered = self.inner.stock.on_disk(move |shelf| Ok(shelf.remembered(&of))).await;
        remembered.map_err(|e| cannot(&e))?.map_err(|e| cannot(&e))
    }
}

fn is_of(ask: &ModuleAsk, version: &Version) -> bool {
    match ask {
        ModuleAsk::Info(of) | ModuleAsk::Mod(of) | ModuleAsk::Zip(of) => of == version,
        ModuleAsk::List | ModuleAsk::Latest | ModuleAsk::Query(_) | ModuleAsk::Alias(_) | ModuleAsk::NoVersion(_) => false,
    }
}

impl Shelf {
    /// Of which questions about this very module there is an answer with a date.
    ///
    /// # Errors
    ///
    /// A folder, or a file in it, cannot be read.
    fn remembered(&self, path: &ModulePath) -> io::Result<Vec<ModuleAsk>> {
        let mut asks: Vec<_> = self.names(&memos_of_version(path))?.iter().filter_map(|name| ask_of_memo(name)).collect();
        if self.is_there(&Asset::Module(path.clone(), ModuleAsk::Latest))? {
            asks.push(ModuleAsk::Latest);
        }
        let (folder, start) = absences_of(path);
        for name in self.names(&folder)?.into_iter().filter(|name| name.starts_with(&start)) {
            let key = format!("{folder}/{name}");
            // One that is damaged is found when it is asked for.
            asks.extend(self.memo_head(&key)?.and_then(|memo| ask_of_key(&memo.key)).filter(|ask| !asks.contains(ask)));
        }
        Ok(asks)
    }

    /// The names in a folder; none if there is no such folder.
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let items = match fs::read_dir(self.index.path(folder)) {
            // Of a name too long nothing can be kept.
            Err(e) if is_gone(&e) || e.kind() == io::ErrorKind::InvalidFilename => return Ok(Vec::new()),
            items => items?,
        };
        items.map(|item| Ok(item?.file_name())).filter_map(|name| name.map(|name| name.into_string().ok()).transpose()).collect()
    }

    fn is_there(&self, asset: &Asset) -> io::Result<bool> {
        asset.place().memo.map_or(Ok(false), |key| self.index.path(&key).try_exists())
    }
}
