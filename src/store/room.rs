//! The room that the store keeps for itself on its disk, and who gives way for it: what can be had again goes before what was
//! published here.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use crate::durable::{Disk, Shortage};

/// Nothing is published when the disk has less room, bytes: starts and deletes need some, and sled does not recover from a full disk.
pub const RESERVE_BYTES: u64 = 8 << 20;
/// Nor when it has fewer free inodes.
pub const RESERVE_INODES: u64 = 64;
/// How often the room is asked for again after something went.
const TRIES: u32 = 3;

/// What is asked for where a disk is full and does not tell what it lacks, as with a quota: one after the other, for it is hardly both.
pub(super) const UNTOLD: [Shortage; 2] = [UNTOLD_BYTES, Shortage { bytes: 0, inodes: RESERVE_INODES }];
/// Where bytes were to be written.
pub(super) const UNTOLD_BYTES: Shortage = Shortage { bytes: RESERVE_BYTES, inodes: 0 };

/// Gives up so much of what can be had again, as far as there is any; whether anything went. Blocks on the disk.
pub type GiveWay = Box<dyn Fn(Shortage) -> bool + Send + Sync>;

/// Who gives way, once that is known.
#[derive(Default)]
pub(super) struct Yielding(OnceLock<GiveWay>);

impl fmt::Debug for Yielding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "Yielding(to the store)" } else { "Yielding" })
    }
}

impl Yielding {
    /// Only the first one counts.
    pub(super) fn set(&self, give_way: GiveWay) {
        let _ = self.0.set(give_way);
    }

    /// Has others give way until so many bytes could be written to the file system of `dir` beside the reserve; whether they could.
    pub(super) fn make_room(&self, disk: &Disk, dir: &Path, bytes: u64) -> io::Result<bool> {
        for _ in 0..TRIES {
            let short = shortage(disk, dir, bytes)?;
            if short.is_none() {
                return Ok(true);
            }
            if !self.give_way(short) {
                break;
            }
        }
        Ok(shortage(disk, dir, bytes)?.is_none())
    }

    /// Has others give up so much, or what there is of it; whether anything went.
    pub(super) fn give_way(&self, short: Shortage) -> bool {
        self.0.get().is_some_and(|give_way| give_way(short))
    }
}

/// What has to go before so many bytes can be written beside the reserve.
pub(super) fn shortage(disk: &Disk, dir: &Path, bytes: u64) -> io::Result<Shortage> {
    Ok(disk.room(dir)?.lacks(RESERVE_BYTES.saturating_add(bytes), RESERVE_INODES))
}
