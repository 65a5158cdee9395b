//! Asking again what a module was asked before, and forgetting it: the memory of what changes, lists and absences. What never
//! changes is not touched.

use std::fs;

use futures::StreamExt as _;

use crate::module::{ModulePath, Version};
use crate::protocol::ModuleAsk;

use super::fill::Filled;
use super::place::{Asset, ask_of_memo, memos_of_version};
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
    pub async fn refresh(&self, path: &ModulePath, version: Option<&Version>, principal: &str) -> Vec<Renewed> {
        let asks = self.remembered(path).await.into_iter().filter(|ask| version.is_none_or(|version| is_of(ask, version)));
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
        renewed
    }

    /// Forgets the list, `@latest`, branches and absences of this very module: from now on it is another one of that name.
    pub async fn forget(&self, path: &ModulePath) {
        for ask in self.remembered(path).await {
            let asset = Asset::Module(path.clone(), ask);
            let forgotten = self.inner.stock.write(&asset, |shelf, asset| {
                shelf.forget(asset.place().memo.as_deref());
                Ok(())
            });
            if let Err(error) = forgotten.await {
                tracing::warn!(%asset, %error, "an answer that does not count any more cannot be forgotten");
            }
        }
    }

    async fn remembered(&self, path: &ModulePath) -> Vec<ModuleAsk> {
        let path = path.clone();
        self.inner.stock.on_disk(move |shelf| Ok(shelf.remembered(&path))).await.unwrap_or_default()
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
    fn remembered(&self, path: &ModulePath) -> Vec<ModuleAsk> {
        let folder = fs::read_dir(self.index.path(&memos_of_version(path))).into_iter().flatten().flatten();
        let asks = folder.filter_map(|item| ask_of_memo(item.file_name().to_str()?));
        asks.chain([ModuleAsk::Latest].into_iter().filter(|_| self.is_there(&Asset::Module(path.clone(), ModuleAsk::Latest)))).collect()
    }

    fn is_there(&self, asset: &Asset) -> bool {
        asset.place().memo.is_some_and(|key| self.index.path(&key).exists())
    }
}
