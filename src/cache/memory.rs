//! Small answers in memory, in front of the disk: a hit costs no thread and no system call.
//!
//! Invariant: nothing is answered from here that the disk would not answer. An answer counts only while the index still has
//! the key that it was read from, which its reader asks each time; and whoever writes an asset's files calls
//! [`Memory::forget`] afterwards, which also keeps out what was read before it and arrives here after it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::place::Asset;
use super::shelf::{Answer, Content, Kept};
use crate::protocol::{ModuleAsk, SumdbWhat};

/// What an entry costs besides the bytes that key and value point to: 321 bytes by measurement, and the two themselves.
const ENTRY_BYTES: usize = 321 + size_of::<Asset>() + size_of::<Answer>();
/// Assets fall into so many groups whose changes are counted together.
const GROUPS: usize = 64;

/// The memory tier.
pub(super) struct Memory {
    /// `None`: turned off.
    answers: Option<moka::sync::Cache<Asset, Arc<Answer>>>,
    /// How often an asset of the group was forgotten.
    changes: [Mutex<u64>; GROUPS],
    hasher: RandomState,
}

/// How far an asset's group had come when its file began to be read.
#[derive(Clone, Copy)]
pub(super) struct Before(u64);

/// How much is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Answers.
    pub entries: u64,
    /// Bytes, with keys and what keeping them costs.
    pub bytes: u64,
}

impl Memory {
    /// Of at most so many bytes; 0 turns it off.
    pub(super) fn new(bytes_max: u64) -> Self {
        let weigh = |asset: &Asset, answer: &Arc<Answer>| u32::try_from(weight(asset, answer)).unwrap_or(u32::MAX);
        let answers = (bytes_max > 0).then(|| moka::sync::Cache::builder().max_capacity(bytes_max).weigher(weigh).build());
        Self { answers, changes: std::array::from_fn(|_| Mutex::new(0)), hasher: RandomState::new() }
    }

    fn changes(&self, asset: &Asset) -> MutexGuard<'_, u64> {
        let group = self.hasher.hash_one(asset) as usize % GROUPS;
        self.changes[group].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer, if it is here. It counts only if the index still has its key.
    pub(super) fn get(&self, asset: &Asset) -> Option<Arc<Answer>> {
        self.answers.as_ref()?.get(asset)
    }

    /// To be called before an asset's files are read, for [`Memory::put`].
    pub(super) fn before(&self, asset: &Asset) -> Before {
        Before(*self.changes(asset))
    }

    /// Takes in what was read, if it is small and was not forgotten since `before`.
    pub(super) fn put(&self, asset: &Asset, answer: &Arc<Answer>, before: Before) {
        let Some(answers) = &self.answers else { return };
        if matches!(&answer.kept, Kept::Found { content: Content::File { .. }, .. }) {
            return;
        }
        {
            let changes = self.changes(asset);
            if *changes != before.0 {
                return;
            }
            answers.insert(asset.clone(), answer.clone());
        }
        // Else what is over the bound stays until the next occasion.
        answers.run_pending_tasks();
    }

    /// Drops an asset's answer: its files were written or removed.
    pub(super) fn forget(&self, asset: &Asset) {
        let mut changes = self.changes(asset);
        *changes += 1;
        if let Some(answers) = &self.answers {
            answers.invalidate(asset);
        }
    }

    pub(super) fn usage(&self) -> MemoryUsage {
        let Some(answers) = &self.answers else { return MemoryUsage::default() };
        answers.run_pending_tasks();
        MemoryUsage { entries: answers.entry_count(), bytes: answers.weighted_size() }
    }
}

/// Bytes of key and value.
fn weight(asset: &Asset, answer: &Answer) -> usize {
    let asset = match asset {
        Asset::Module(path, ask) => path.as_str().len() + of_ask(ask),
        Asset::Sumdb(name, what) => name.len() + of_what(what),
    };
    let kept = match &answer.kept {
        Kept::Found { content, etag } => {
            let content = match content {
                Content::Bytes(bytes) => bytes.len(),
                Content::File { .. } => 0,
            };
            content + etag.as_ref().map_or(0, String::len)
        }
        Kept::Absent(absent) => absent.text.len(),
    };
    ENTRY_BYTES + asset + answer.key.len() + kept
}

fn of_ask(ask: &ModuleAsk) -> usize {
    match ask {
        ModuleAsk::Info(version) | ModuleAsk::Mod(version) | ModuleAsk::Zip(version) => version.as_str().len(),
        ModuleAsk::Query(query) | ModuleAsk::NoVersion(query) => query.len(),
        ModuleAsk::List | ModuleAsk::Latest | ModuleAsk::Alias(_) => 0,
    }
}

fn of_what(what: &SumdbWhat) -> usize {
    match what {
        SumdbWhat::Lookup(path, version) => path.as_str().len() + version.as_str().len(),
        SumdbWhat::Tile(_) | SumdbWhat::Supported | SumdbWhat::Latest => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Absent;

    fn asset(i: usize) -> Asset {
        Asset::Module("example.com/m".parse().unwrap(), ModuleAsk::Query(format!("branch-{i}")))
    }

    fn answer(bytes: usize) -> Arc<Answer> {
        let kept = Kept::Found { content: Content::Bytes(vec![b'x'; bytes].into()), etag: None };
        Arc::new(Answer { key: "queries/example.com/m/@v/branch.info".to_owned(), kept, at: None, h1: None, voucher: None })
    }

    fn put(memory: &Memory, asset: &Asset, answer: &Arc<Answer>) {
        memory.put(asset, answer, memory.before(asset));
    }

    #[test]
    fn bytes_are_bounded_with_keys_and_costs() {
        let one = weight(&asset(0), &answer(1000)) as u64;
        assert!(one > 1000 + 321 + "branch-0".len() as u64);
        for (bound, kept) in [(one - 1, 0), (one, 1), (one + 1, 1)] {
            let memory = Memory::new(bound);
            put(&memory, &asset(0), &answer(1000));
            assert_eq!(memory.usage(), MemoryUsage { entries: kept, bytes: kept * one }, "{bound}");
        }
        let memory = Memory::new(100_000);
        for i in 0..1000 {
            put(&memory, &asset(i), &answer(i));
            assert!(memory.answers.as_ref().unwrap().weighted_size() <= 100_000, "{i}");
        }
        assert!(memory.usage().entries > 10);
    }

    #[test]
    fn what_was_read_before_a_change_does_not_come_in_after_it() {
        let memory = Memory::new(100_000);
        let before = memory.before(&asset(0));
        memory.forget(&asset(0));
        memory.put(&asset(0), &answer(1), before);
        assert!(memory.get(&asset(0)).is_none());
        put(&memory, &asset(0), &answer(1));
        assert!(memory.get(&asset(0)).is_some());
        memory.forget(&asset(0));
        assert!(memory.get(&asset(0)).is_none());
    }

    #[test]
    fn an_absence_is_an_answer_and_a_file_is_too_long_for_here() {
        let memory = Memory::new(100_000);
        let kept = Kept::Absent(Absent { status: 404, text: "not found\n".to_owned() });
        put(&memory, &asset(0), &Arc::new(Answer { key: "k".to_owned(), kept, at: None, h1: None, voucher: None }));
        assert!(memory.get(&asset(0)).is_some());
        let file = Content::File { file: Arc::new(tempfile::tempfile().unwrap()).into(), from: 0, len: 1 << 20 };
        put(
            &memory,
            &asset(1),
            &Arc::new(Answer { key: "k".to_owned(), kept: Kept::Found { content: file, etag: None }, at: None, h1: None, voucher: None }),
        );
        assert!(memory.get(&asset(1)).is_none());
    }

    #[test]
    fn a_bound_of_nothing_turns_it_off() {
        let memory = Memory::new(0);
        put(&memory, &asset(0), &answer(1));
        assert!(memory.get(&asset(0)).is_none());
        assert_eq!(memory.usage(), MemoryUsage::default());
    }
}
