use std::collections::BTreeMap;

use super::*;

fn hash(key: &str) -> u64 {
    // Few buckets, so that keys collide.
    key.bytes().map(u64::from).sum::<u64>() % 7
}

fn put(shard: &mut Shard, key: &str, bytes: u64, used: u64) -> SlotId {
    let slot = shard.insert(hash(key), key, Entry { bytes, used, last_copy: false }, hash).unwrap();
    shard.release(slot, true);
    slot
}

fn take_oldest(shard: &mut Shard) -> Option<String> {
    let (_, slot) = [Order::Ordinary, Order::LastCopy].iter().find_map(|order| shard.oldest(*order))?;
    let key = shard.key(slot).to_owned();
    assert!(shard.take(hash(&key), slot).is_some());
    Some(key)
}

#[test]
fn a_slot_is_forty_bytes() {
    assert_eq!(size_of::<Slot>(), 40);
}

#[test]
fn the_least_recently_used_goes_first_and_last_copies_last() {
    let mut shard = Shard::default();
    let slots: Vec<_> = (0..5).map(|i| put(&mut shard, &format!("k{i}"), 1, i)).collect();
    shard.set_last_copy(slots[0], true);
    shard.lease(slots[1], 10);
    shard.release(slots[1], true);
    let order: Vec<_> = std::iter::from_fn(|| take_oldest(&mut shard)).collect();
    assert_eq!(order, ["k2", "k3", "k4", "k1", "k0"]);
    assert_eq!((shard.tally(Order::LastCopy), shard.entries().count()), (Tally::default(), 0));
}

#[test]
fn what_is_leased_stands_in_no_list_and_frees_its_bytes_when_the_last_lease_ends() {
    let mut shard = Shard::default();
    let slot = put(&mut shard, "k", 100, 1);
    shard.lease(slot, 2);
    shard.lease(slot, 3);
    assert_eq!(shard.oldest(Order::Ordinary), None);
    assert_eq!(shard.take(hash("k"), slot), None);
    assert!(shard.find(hash("k"), "k").is_none() && !shard.is_live(slot));
    // The key is used anew, while the old file is read.
    let other = put(&mut shard, "k", 50, 4);
    assert_ne!(other, slot);
    assert_eq!(shard.release(slot, true), None);
    assert_eq!(shard.release(slot, true), Some(100));
    assert_eq!(shard.oldest(Order::Ordinary), Some((4, other)));
}

#[test]
fn what_was_used_is_written_down_once_and_what_went_is_not() {
    let mut shard = Shard::default();
    let slots: Vec<_> = (0..3).map(|i| put(&mut shard, &format!("k{i}"), 1, i)).collect();
    for slot in [slots[0], slots[0], slots[1]] {
        shard.lease(slot, 10);
        shard.release(slot, true);
    }
    shard.take(hash("k1"), slots[1]);
    // In the slot that became free.
    put(&mut shard, "k3", 1, 11);
    let mut written = Vec::new();
    shard.drain_dirty(|key, entry| written.push((key.to_owned(), entry.used)));
    assert_eq!(written, [("k0".to_owned(), 10)]);
    shard.drain_dirty(|key, _| panic!("{key}"));
}

#[test]
fn sorting_puts_right_what_came_in_any_order() {
    let mut shard = Shard::default();
    for used in [3, 1, 2] {
        let slot = shard.insert(hash("k"), &format!("k{used}"), Entry { bytes: 1, used, last_copy: false }, hash).unwrap();
        shard.release(slot, false);
    }
    let first = shard.find(hash("k"), "k1").unwrap();
    shard.learn(first, 9, false);
    shard.sort();
    let order: Vec<_> = std::iter::from_fn(|| {
        shard.oldest(Order::Ordinary).map(|(_, slot)| {
            let key = shard.key(slot).to_owned();
            shard.take(hash("k"), slot);
            key
        })
    })
    .collect();
    assert_eq!(order, ["k2", "k3", "k1"]);
}

/// Against the plainest model, over a long random life, in which the texts of keys are moved together many times.
#[test]
fn a_shard_behaves_as_a_sorted_map() {
    let (mut shard, mut model, mut state) = (Shard::default(), BTreeMap::<String, (u64, u64)>::new(), 1_u64);
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for now in 1..20_000 {
        let key = format!("download/example.com/{}/module{}", "x".repeat(random(3) as usize * 30), random(300));
        match (random(4), shard.find(hash(&key), &key)) {
            (0, Some(slot)) => {
                assert_eq!(shard.take(hash(&key), slot), model.remove(&key).map(|(bytes, _)| bytes));
            }
            (1, _) if model.len() > 200 => {
                let oldest = model.iter().min_by_key(|(_, (_, used))| *used).unwrap().0.clone();
                assert_eq!(take_oldest(&mut shard), Some(oldest.clone()));
                model.remove(&oldest);
            }
            (_, Some(slot)) => {
                shard.lease(slot, now);
                shard.release(slot, true);
                model.get_mut(&key).unwrap().1 = now;
            }
            (_, None) => {
                assert!(!model.contains_key(&key));
                let bytes = random(1000);
                put(&mut shard, &key, bytes, now);
                model.insert(key, (bytes, now));
            }
        }
    }
    let entries: BTreeMap<_, _> = shard.entries().map(|(key, entry)| (key.to_owned(), (entry.bytes, entry.used))).collect();
    assert_eq!(entries, model);
}
