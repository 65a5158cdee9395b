//! One shard of the index: a slab of slots, a hash table of slot numbers, and lists of slots in the order of last use.
//! Pure: no I/O, no locks.
//!
//! A slot is an entry as long as it is *live*: its key finds it. A live slot without leases stands in one of the lists;
//! a leased one stands in none, so that nobody evicts it. A slot that is dead and leased is a file without a name that
//! somebody still reads: its bytes are on the disk until the last lease ends.

use hashbrown::HashTable;

use super::names::{Name, Names};
use crate::cache::place::is_absence;
use crate::cache::voucher::VoucherId;

/// No slot.
const NONE: u32 = u32::MAX;

/// The number of a slot.
pub(super) type SlotId = u32;

/// Which of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// An absence: anyone can have as many of them kept as they like.
    Absence = 0,
    /// Upstream has it still, as far as is known.
    Ordinary = 1,
    /// Upstream says that it has it no more.
    LastCopy = 2,
}

impl Order {
    const COUNT: usize = 3;

    fn of(key: &str, last_copy: bool) -> Self {
        match (is_absence(key), last_copy) {
            (true, _) => Self::Absence,
            (false, false) => Self::Ordinary,
            (false, true) => Self::LastCopy,
        }
    }
}

/// How much there is of one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Live slots.
    pub(super) entries: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.entries += more.entries;
        self.bytes += more.bytes;
    }
}

impl std::ops::SubAssign for Tally {
    fn sub_assign(&mut self, less: Self) {
        self.entries -= less.entries;
        self.bytes -= less.bytes;
    }
}

/// What is known of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Of the file and its sidecar.
    pub(super) bytes: u64,
    /// When it was last used: microseconds since 1970, unique; 0 for what goes first.
    pub(super) used: u64,
    /// Whether upstream has it no more.
    pub(super) last_copy: bool,
}

/// What this process found out of an entry's file, in a byte. The others say who vouched for it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct File(u8);

impl File {
    const UNJUDGED: Self = Self(0);
    /// It could not be read when it was last tried.
    const UNREADABLE: Self = Self(u8::MAX);
}

struct Slot {
    bytes: u64,
    used: u64,
    name: Name,
    live: bool,
    order: Order,
    /// Changed since it was last written down.
    dirty: bool,
    file: File,
    leases: u32,
    /// Of a free slot, the next free one.
    next: u32,
    prev: u32,
}

#[derive(Clone, Copy)]
struct Ends {
    newest: u32,
    oldest: u32,
}

/// The shard.
pub(super) struct Shard {
    slots: Vec<Slot>,
    free: u32,
    table: HashTable<u32>,
    names: Names,
    lists: [Ends; Order::COUNT],
    tallies: [Tally; Order::COUNT],
    /// Slots whose use, or whose being a last copy, is not written down yet; some of them were freed since.
    dirty: Vec<u32>,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            table: HashTable::new(),
            names: Names::default(),
            lists: [Ends { newest: NONE, oldest: NONE }; Order::COUNT],
            tallies: Default::default(),
            dirty: Vec::new(),
        }
    }
}

impl Shard {
    /// The live slot of a key.
    pub(super) fn find(&self, hash: u64, key: &str) -> Option<SlotId> {
        self.table.find(hash, |id| self.names.get(self.slots[*id as usize].name) == key).copied()
    }

    fn slot(&self, id: SlotId) -> &Slot {
        &self.slots[id as usize]
    }

    fn slot_mut(&mut self, id: SlotId) -> &mut Slot {
        &mut self.slots[id as usize]
    }

    /// What a slot holds.
    pub(super) fn entry(&self, id: SlotId) -> Entry {
        let slot = self.slot(id);
        Entry { bytes: slot.bytes, used: slot.used, last_copy: slot.order == Order::LastCopy }
    }

    /// Its key.
    pub(super) fn key(&self, id: SlotId) -> &str {
        self.names.get(self.slot(id).name)
    }

    /// Whether its key still finds it.
    pub(super) fn is_live(&self, id: SlotId) -> bool {
        self.slot(id).live
    }

    /// Adds an entry, pinned: [`Shard::release`] puts it into its list. The key is not there. `rehash`: the hash of a key,
    /// as all are hashed. `None`: there is no room for another key.
    pub(super) fn insert(&mut self, hash: u64, key: &str, entry: Entry, rehash: impl Fn(&str) -> u64) -> Option<SlotId> {
        let name = self.names.add(key)?;
        let Entry { bytes, used, last_copy } = entry;
        let order = Order::of(key, last_copy);
        let slot = Slot { bytes, used, name, live: true, order, dirty: false, file: File::UNJUDGED, leases: 1, next: NONE, prev: NONE };
        let id = if self.free == NONE {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).ok()?
        } else {
            let id = self.free;
            self.free = self.slot(id).next;
            *self.slot_mut(id) = slot;
            id
        };
        self.tallies[order as usize] += Tally { entries: 1, bytes };
        let (slots, names) = (&self.slots, &self.names);
        self.table.insert_unique(hash, id, |id| rehash(names.get(slots[*id as usize].name)));
        Some(id)
    }

    fn link(&mut self, id: SlotId, newest: bool) {
        let list = self.slot(id).order as usize;
        let ends = self.lists[list];
        let (prev, next) = if newest { (NONE, ends.newest) } else { (ends.oldest, NONE) };
        let slot = self.slot_mut(id);
        (slot.prev, slot.next) = (prev, next);
        match prev {
            NONE => self.lists[list].newest = id,
            prev => self.slot_mut(prev).next = id,
        }
        match next {
            NONE => self.lists[list].oldest = id,
            next => self.slot_mut(next).prev = id,
        }
    }

    fn unlink(&mut self, id: SlotId) {
        let slot = self.slot(id);
        let (list, prev, next) = (slot.order as usize, slot.prev, slot.next);
        match prev {
            NONE => self.lists[list].newest = next,
            prev => self.slot_mut(prev).next = next,
        }
        match next {
            NONE => self.lists[list].oldest = prev,
            next => self.slot_mut(next).prev = prev,
        }
    }

    /// Whether it stands in a list.
    fn is_linked(&self, id: SlotId) -> bool {
        let slot = self.slot(id);
        slot.live && slot.leases == 0
    }

    fn mark_dirty(&mut self, id: SlotId) {
        let slot = self.slot_mut(id);
        if !std::mem::replace(&mut slot.dirty, true) {
            self.dirty.push(id);
        }
    }

    /// Keeps a live slot from being evicted, until [`Shard::release`].
    pub(super) fn pin(&mut self, id: SlotId) {
        if self.is_linked(id) {
            self.unlink(id);
        }
        self.slot_mut(id).leases += 1;
    }

    /// Says whether reading a slot's file failed when it was last tried.
    pub(super) fn set_unreadable(&mut self, id: SlotId, unreadable: bool) {
        let file = &mut self.slot_mut(id).file;
        if unreadable {
            *file = File::UNREADABLE;
        } else if *file == File::UNREADABLE {
            *file = File::UNJUDGED;
        }
    }

    /// Whether that was said.
    pub(super) fn is_unreadable(&self, id: SlotId) -> bool {
        self.slot(id).file == File::UNREADABLE
    }

    /// Pins a live slot that is used now.
    pub(super) fn lease(&mut self, id: SlotId, now: u64) {
        self.pin(id);
        self.slot_mut(id).used = now;
        self.mark_dirty(id);
    }

    /// Ends a lease or a pin. The last one of a live slot puts it into its list, as the newest or as the oldest; of a dead
    /// slot: the bytes that are on the disk no more.
    pub(super) fn release(&mut self, id: SlotId, newest: bool) -> Option<u64> {
        let slot = self.slot_mut(id);
        slot.leases -= 1;
        if slot.leases > 0 {
            return None;
        }
        let (bytes, live) = (slot.bytes, slot.live);
        if live {
            self.link(id, newest);
            return None;
        }
        self.free_slot(id);
        Some(bytes)
    }

    /// Takes a live slot out; its key finds it no more. If nobody has a lease: the bytes that its file had.
    pub(super) fn take(&mut self, hash: u64, id: SlotId) -> Option<u64> {
        if self.is_linked(id) {
            self.unlink(id);
        }
        if let Ok(found) = self.table.find_entry(hash, |other| *other == id) {
            found.remove();
        }
        let slot = self.slot_mut(id);
        slot.live = false;
        let (bytes, leases, order, name) = (slot.bytes, slot.leases, slot.order, std::mem::take(&mut slot.name));
        self.tallies[order as usize] -= Tally { entries: 1, bytes };
        self.names.free(name);
        let bytes = (leases == 0).then(|| {
            self.free_slot(id);
            bytes
        });
        if self.names.is_sparse() {
            let live = self.slots.iter_mut().filter(|slot| slot.live);
            self.names.compact(live.map(|slot| &mut slot.name));
        }
        bytes
    }

    fn free_slot(&mut self, id: SlotId) {
        let next = std::mem::replace(&mut self.free, id);
        let slot = self.slot_mut(id);
        (slot.next, slot.dirty) = (next, false);
    }

    /// The least recently used of a list, and when that was.
    pub(super) fn oldest(&self, order: Order) -> Option<(u64, SlotId)> {
        let id = self.lists[order as usize].oldest;
        (id != NONE).then(|| (self.slot(id).used, id))
    }

    /// How much there is of an order.
    pub(super) fn tally(&self, order: Order) -> Tally {
        self.tallies[order as usize]
    }

    /// Notes who vouched for the file of a slot that is leased.
    pub(super) fn vouch(&mut self, id: SlotId, by: VoucherId) {
        self.slot_mut(id).file = by.byte().map_or(File::UNJUDGED, File);
    }

    /// Who did last.
    pub(super) fn voucher(&self, id: SlotId) -> Option<VoucherId> {
        VoucherId::of_byte(self.slot(id).file.0)
    }

    /// Says whether a live slot is a last copy.
    pub(super) fn set_last_copy(&mut self, id: SlotId, last_copy: bool) {
        if self.change_list(id, last_copy) {
            self.mark_dirty(id);
        }
    }

    /// Whether it stands in another list now.
    fn change_list(&mut self, id: SlotId, last_copy: bool) -> bool {
        let order = Order::of(self.key(id), last_copy);
        if self.slot(id).order == order {
            return false;
        }
        let linked = self.is_linked(id);
        if linked {
            self.unlink(id);
        }
        let before = std::mem::replace(&mut self.slot_mut(id).order, order);
        let it = Tally { entries: 1, bytes: self.slot(id).bytes };
        self.tallies[before as usize] -= it;
        self.tallies[order as usize] += it;
        if linked {
            self.link(id, true);
        }
        true
    }

    /// Learns of a live slot what was written down of it. The lists are put right by [`Shard::sort`].
    pub(super) fn learn(&mut self, id: SlotId, used: u64, last_copy: bool) {
        self.change_list(id, last_copy);
        let slot = self.slot_mut(id);
        slot.used = slot.used.max(used);
    }

    /// Puts the lists into the order of last use, for what was not inserted in it.
    pub(super) fn sort(&mut self) {
        let mut linked: Vec<u32> = (0..u32::try_from(self.slots.len()).unwrap_or(NONE)).filter(|id| self.is_linked(*id)).collect();
        linked.sort_by_key(|id| self.slot(*id).used);
        self.lists = [Ends { newest: NONE, oldest: NONE }; Order::COUNT];
        for id in linked {
            self.link(id, true);
        }
    }

    /// The live entries, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, Entry)> {
        self.table.iter().map(|id| (self.key(*id), self.entry(*id)))
    }

    /// Gives each entry that changed since the last call to `write`.
    pub(super) fn drain_dirty(&mut self, mut write: impl FnMut(&str, Entry)) {
        for id in std::mem::take(&mut self.dirty) {
            if std::mem::take(&mut self.slot_mut(id).dirty) && self.is_live(id) {
                write(self.key(id), self.entry(id));
            }
        }
    }
}

#[cfg(test)]
mod tests;
