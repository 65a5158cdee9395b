//! How much there is, and may be. Pure arithmetic; whoever changes the disk keeps to it:
//! bytes are granted before they are written, and given back after they are gone.

/// One entry for so many bytes of the bound: file systems are made with about one inode for so many.
const BYTES_PER_ENTRY: u64 = 16 << 10;
/// So many entries always.
const ENTRIES_MIN: u64 = 1024;
/// Absences are at most one of so many entries.
const ENTRIES_PER_ABSENCE: u64 = 8;
/// Last copies are at most one of so many bytes.
const BYTES_PER_LAST_COPY_BYTE: u64 = 2;
/// The journaled ceiling moves in steps of the bound's so-manieth part,
const CEILING_STEPS: u64 = 64;
/// but not in smaller ones than this, bytes.
const CEILING_STEP_MIN: u64 = 1 << 20;

/// What came of asking for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// They are granted.
    Given,
    /// Others must go first.
    Full,
    /// They fit, but the journal must say so first.
    AboveCeiling,
}

/// The sums.
#[derive(Debug)]
pub(super) struct Ledger {
    bytes_max: u64,
    entries_max: u64,
    /// Bytes of entries, of files without a name that are still read, of reservations, and unseen ones.
    used: u64,
    /// Of those, reserved ones.
    reserved: u64,
    /// Of the reserved ones, those that are not on the disk yet.
    unwritten: u64,
    /// Of the used ones, those that may be on the disk from before the start, and were not come across yet.
    unseen: u64,
    /// Live entries.
    entries: u64,
    /// Reservations: each becomes at most one entry.
    pending: u64,
    /// What the journal says that `used` does not exceed; 0: it says that the snapshot on disk is all there is.
    ceiling: u64,
}

/// How much there may be of what would else crowd out the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// Absences.
    pub(super) absences: u64,
    /// Bytes of last copies.
    pub(super) last_copies_bytes: u64,
}

/// How many entries may share so many bytes.
fn entries_max(bytes_max: u64) -> u64 {
    (bytes_max / BYTES_PER_ENTRY).max(ENTRIES_MIN)
}

impl Ledger {
    /// `unseen`: an upper bound of what is on the disk. `ceiling`: what the journal says.
    pub(super) fn new(bytes_max: u64, unseen: u64, ceiling: u64) -> Self {
        let entries_max = entries_max(bytes_max);
        Self { bytes_max, entries_max, used: unseen, reserved: 0, unwritten: 0, unseen, entries: 0, pending: 0, ceiling }
    }

    /// Another bound; what is over it is for the caller to evict.
    pub(super) fn resize(&mut self, bytes_max: u64) {
        (self.bytes_max, self.entries_max) = (bytes_max, entries_max(bytes_max));
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn shares(&self) -> Shares {
        Shares { absences: self.entries_max / ENTRIES_PER_ABSENCE, last_copies_bytes: self.bytes_max / BYTES_PER_LAST_COPY_BYTE }
    }

    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// Bytes that may be there and were not come across.
    pub(super) fn unseen(&self) -> u64 {
        self.unseen
    }

    /// What evicting everything might free, bytes.
    pub(super) fn evictable(&self) -> u64 {
        self.used - self.reserved - self.unseen
    }

    /// Whether so much more fits now.
    pub(super) fn fits(&self, bytes: u64, entries: u64) -> bool {
        let wanted = self.used.checked_add(bytes);
        wanted.is_some_and(|wanted| wanted <= self.bytes_max) && self.entries + self.pending + entries <= self.entries_max
    }

    /// Whether it might fit if every entry went.
    pub(super) fn is_reachable(&self, bytes: u64, entries: u64) -> bool {
        let stays = (self.reserved + self.unseen).saturating_add(bytes);
        stays <= self.bytes_max && self.pending + entries <= self.entries_max
    }

    /// Sets bytes aside, and room for entries.
    pub(super) fn grant(&mut self, bytes: u64, entries: u64) -> Grant {
        if !self.fits(bytes, entries) {
            return Grant::Full;
        }
        if self.used + bytes > self.ceiling {
            return Grant::AboveCeiling;
        }
        self.used += bytes;
        self.reserved += bytes;
        self.unwritten += bytes;
        self.pending += entries;
        Grant::Given
    }

    /// Of what was set aside, so much was written.
    pub(super) fn wrote(&mut self, bytes: u64) {
        self.unwritten -= bytes;
    }

    /// Takes back what was set aside and is not, or no more, on the disk.
    pub(super) fn give_back(&mut self, bytes: u64, unwritten: u64, entries: u64) {
        self.used -= bytes;
        self.reserved -= bytes;
        self.unwritten -= unwritten;
        self.pending -= entries;
    }

    /// What was set aside became an entry of so many bytes.
    pub(super) fn became_entry(&mut self, bytes: u64, unwritten: u64) {
        self.reserved -= bytes;
        self.unwritten -= unwritten;
        self.pending -= 1;
        self.entries += 1;
    }

    /// An entry lost its name; its bytes are still there.
    pub(super) fn lost_entry(&mut self) {
        self.entries -= 1;
    }

    /// So many bytes of what had been an entry left the disk.
    pub(super) fn freed(&mut self, bytes: u64) {
        self.used -= bytes;
    }

    /// Entries of files from before the start were come across, of so many bytes together.
    pub(super) fn found(&mut self, bytes: u64, entries: u64) {
        let known = bytes.min(self.unseen);
        self.unseen -= known;
        self.used += bytes - known;
        self.entries += entries;
    }

    /// There is an entry that nobody set bytes aside for.
    pub(super) fn added(&mut self, bytes: u64) {
        self.used += bytes;
        self.entries += 1;
    }

    /// Everything was come across.
    pub(super) fn all_seen(&mut self) {
        self.used -= std::mem::take(&mut self.unseen);
    }

    /// The ceiling to write into the journal before `bytes` more are granted; `None`: the one that stands there will do.
    pub(super) fn next_ceiling(&self, bytes: u64) -> Option<u64> {
        let wanted = self.used.saturating_add(bytes);
        (wanted > self.ceiling).then(|| self.ceiling_over(wanted))
    }

    /// The ceiling to write into the journal where the one that stands there is far off.
    pub(super) fn better_ceiling(&self) -> Option<u64> {
        let better = self.ceiling_over(self.used);
        (self.ceiling > 0 && (self.ceiling < self.used || self.ceiling > better)).then_some(better)
    }

    fn ceiling_over(&self, wanted: u64) -> u64 {
        let step = (self.bytes_max / CEILING_STEPS).max(CEILING_STEP_MIN);
        wanted.saturating_add(step).min(self.bytes_max.max(wanted))
    }

    /// The journal says so.
    pub(super) fn set_ceiling(&mut self, ceiling: u64) {
        self.ceiling = ceiling;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a ceiling that never matters.
    fn ledger(bytes_max: u64) -> Ledger {
        Ledger::new(bytes_max, 0, u64::MAX)
    }

    #[test]
    fn bytes_are_granted_up_to_the_bound_and_not_beyond() {
        let mut ledger = ledger(100);
        assert_eq!(ledger.grant(99, 1), Grant::Given);
        assert_eq!(ledger.grant(2, 0), Grant::Full);
        assert_eq!(ledger.grant(1, 0), Grant::Given);
        assert_eq!(ledger.grant(1, 0), Grant::Full);
        assert_eq!(ledger.grant(u64::MAX, 0), Grant::Full);
        ledger.give_back(99, 99, 1);
        assert_eq!((ledger.used(), ledger.grant(99, 1)), (1, Grant::Given));
    }

    #[test]
    fn entries_are_granted_one_for_sixteen_kibibytes_and_a_thousand_always() {
        for (bytes_max, entries) in [(0, 1024), (16 << 20, 1024), (20 << 30, 1_310_720)] {
            let mut ledger = ledger(bytes_max);
            assert_eq!(ledger.grant(0, entries - 1), Grant::Given);
            assert_eq!(ledger.grant(0, 1), Grant::Given);
            assert_eq!(ledger.grant(0, 1), Grant::Full, "{bytes_max}");
        }
    }

    #[test]
    fn nothing_is_granted_above_the_journaled_ceiling() {
        let mut ledger = Ledger::new(1 << 30, 10, 20);
        assert_eq!(ledger.grant(10, 1), Grant::Given);
        assert_eq!(ledger.grant(1, 1), Grant::AboveCeiling);
        let next = ledger.next_ceiling(1).unwrap();
        assert_eq!(next, 21 + (16 << 20));
        ledger.set_ceiling(next);
        assert_eq!(ledger.grant(1, 1), Grant::Given);
        assert_eq!(ledger.next_ceiling(1), None);
        let full = Ledger::new(100, 100, 0);
        assert_eq!(full.next_ceiling(0), Some(100));
    }

    #[test]
    fn what_is_come_across_was_counted_before_and_the_rest_is_given_up_at_the_end() {
        let mut ledger = Ledger::new(1000, 500, 500);
        ledger.found(200, 1);
        assert_eq!((ledger.used(), ledger.evictable()), (500, 200));
        assert!(ledger.is_reachable(700, 0) && !ledger.is_reachable(701, 0));
        ledger.lost_entry();
        ledger.freed(200);
        assert_eq!(ledger.used(), 300);
        ledger.found(100, 1);
        ledger.all_seen();
        assert_eq!((ledger.used(), ledger.entries()), (100, 1));
        // More than the journal said: somebody put files there.
        ledger.found(50, 1);
        assert_eq!(ledger.used(), 150);
    }
}
