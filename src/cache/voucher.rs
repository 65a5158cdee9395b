//! Who vouched for an entry, as a number. What somebody vouched for under the settings of before is as good as unverified under those
//! that name somebody else.

use std::sync::{Arc, Mutex, PoisonError};

use super::Vouch;

/// The number of a voucher, as long as the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VoucherId(u32);

impl VoucherId {
    /// In a byte that is neither the least nor the greatest. None for those that come late: what they vouched for is remembered by
    /// their look-ups alone.
    pub(super) fn byte(self) -> Option<u8> {
        u8::try_from(self.0 + 1).ok().filter(|byte| *byte != u8::MAX)
    }

    /// Whose byte this is.
    pub(super) fn of_byte(byte: u8) -> Option<Self> {
        byte.checked_sub(1).filter(|id| id + 1 != u8::MAX).map(|id| Self(id.into()))
    }
}

/// The vouchers that there were since the process began. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Vouchers(Arc<Mutex<Vec<String>>>);

impl Vouchers {
    /// The number of a voucher; the same for one of the same identity.
    pub(super) fn id(&self, voucher: &dyn Vouch) -> VoucherId {
        let identity = voucher.identity();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = known.iter().position(|known| *known == identity).unwrap_or_else(|| {
            known.push(identity);
            known.len() - 1
        });
        VoucherId(u32::try_from(place).unwrap_or(u32::MAX - 1))
    }
}

/// Somebody who vouches, with its number.
#[derive(Clone)]
pub(super) struct Voucher {
    pub(super) asked: Arc<dyn Vouch>,
    pub(super) id: VoucherId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_from_its_byte_and_late_ones_have_none() {
        for id in [0, 1, 252, 253].map(VoucherId) {
            assert_eq!(id.byte().and_then(VoucherId::of_byte), (id.0 < 254).then_some(id), "{id:?}");
        }
        assert_eq!([VoucherId(254), VoucherId(1000)].map(VoucherId::byte), [None; 2]);
        assert_eq!([0, u8::MAX].map(VoucherId::of_byte), [None; 2]);
        assert_eq!(VoucherId(253).byte(), Some(254));
    }
}
