use bytes::Bytes;
use proptest::prelude::*;

use super::super::grow::grow;
use super::super::head::SIZE_MAX;
use super::*;

fn record(id: u64) -> RecordText {
    RecordText::new(format!("record {id}\n").as_bytes()).unwrap()
}

/// Heads of these sizes, and all their tiles.
fn log(sizes: &[u64]) -> (Vec<Head>, Tiles) {
    let (mut heads, mut tiles) = (vec![Head::empty()], Tiles::default());
    for &size in sizes {
        let last = *heads.last().unwrap();
        let leaves: Vec<Hash> = (last.size..size).map(|id| record(id).hash()).collect();
        let Step::Done(grown) = grow(&last, &leaves, &tiles).unwrap() else { panic!("the edge is at hand") };
        grown.tiles.into_iter().for_each(|(tile, content)| tiles.insert(tile, content).unwrap());
        heads.push(grown.head);
    }
    (heads, tiles)
}

fn tile(path: &str) -> Tile {
    path.parse().unwrap()
}

#[test]
fn a_spoiled_tile_is_named_and_proves_nothing() {
    let (heads, tiles) = log(&[700]);
    let head = heads[1];
    let Step::Done(proven) = inclusion(&head, 3, &record(3), &tiles).unwrap() else { panic!() };
    assert_eq!(proven.tiles, [tile("tile/8/1/000.p/2"), tile("tile/8/0/002.p/188"), tile("tile/8/0/000")]);
    let edge = proven.tiles[..2].to_vec();
    for (spoiled, named) in [(0, edge.clone()), (1, edge), (2, vec![proven.tiles[2]])] {
        for at in [0, 40, proven.tiles[spoiled].byte_len().unwrap() - 1] {
            let mut content = tiles.get(proven.tiles[spoiled]).unwrap().to_vec();
            content[at] ^= 1;
            let mut tiles = tiles.clone();
            tiles.remove(proven.tiles[spoiled]);
            tiles.insert(proven.tiles[spoiled], content.into()).unwrap();
            assert_eq!(inclusion(&head, 3, &record(3), &tiles), Err(ProofError::Inconsistent(named.clone())), "{spoiled} {at}");
        }
    }
}

#[test]
fn what_is_missing_is_told_until_nothing_is() {
    let (heads, all) = log(&[70_000]);
    let mut held = Tiles::default();
    let mut asked = Vec::new();
    loop {
        match inclusion(&heads[1], 300, &record(300), &held).unwrap() {
            Step::Done(proven) => break assert_eq!(proven.tiles.len(), asked.len()),
            Step::Missing(missing) => {
                // One a time: the others are asked for again.
                let tile = missing[missing.len() - 1];
                assert!(!asked.contains(&tile));
                asked.push(tile);
                held.insert(tile, Bytes::copy_from_slice(all.get(tile).unwrap())).unwrap();
            }
        }
    }
}

#[test]
fn a_fork_is_found_with_the_roots_of_both_sides() {
    let (heads, tiles) = log(&[300, 700]);
    let other = Head { root: Hash([7; 32]), ..heads[1] };
    let fork = ProofError::Fork { size: 300, older: other.root, newer: heads[1].root };
    assert_eq!(consistency(&other, &heads[2], &tiles), Err(fork));
    let same = Head { root: Hash([7; 32]), ..heads[2] };
    assert!(matches!(consistency(&same, &heads[2], &Tiles::default()), Err(ProofError::Fork { size: 700, .. })));
    let nothing = Head { size: 0, root: Hash([7; 32]) };
    assert!(matches!(consistency(&nothing, &heads[2], &Tiles::default()), Err(ProofError::Fork { size: 0, .. })));
    assert_eq!(consistency(&heads[2], &heads[1], &tiles), Err(ProofError::Shrunk { older: 700, newer: 300 }));
    assert_eq!(inclusion(&heads[1], 300, &record(300), &tiles), Err(ProofError::NotInTree { id: 300, size: 300 }));
}

#[test]
fn tiles_have_their_length_and_the_widest_stays() {
    let mut tiles = Tiles::default();
    for (path, len) in [("tile/8/0/000", 8191), ("tile/8/0/000.p/5", 192), ("tile/8/0/000.p/5", 0), ("tile/8/data/000", 8192)] {
        assert!(tiles.insert(tile(path), vec![0; len].into()).is_err(), "{path} {len}");
    }
    tiles.insert(tile("tile/8/0/000.p/5"), vec![1; 160].into()).unwrap();
    tiles.insert(tile("tile/8/0/000.p/3"), vec![2; 96].into()).unwrap();
    assert_eq!(tiles.get(tile("tile/8/0/000.p/4")), Some(&[1; 128][..]));
    assert_eq!(tiles.get(tile("tile/8/0/000.p/6")), None);
}

/// Sizes around every power of two, and any.
fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), (0u32..64, 0u64..3).prop_map(|(bit, off)| (1u64 << bit).wrapping_add(off).wrapping_sub(1)), Just(SIZE_MAX)]
}

type Question<'a> = &'a dyn Fn(&Tiles) -> Result<Step<Proven>, ProofError>;

proptest! {
    /// What a stranger signs or serves: any size, any number, tiles of any content. Each round brings what is missing.
    #[test]
    fn no_head_and_no_tile_makes_it_panic_or_ask_for_much(size in sizes(), id in sizes(), older in sizes(), fill in any::<u8>()) {
        let head = Head { size, root: Hash([fill; 32]) };
        let older = Head { size: older, root: Hash([fill; 32]) };
        let mut tiles = Tiles::default();
        let questions: [Question<'_>; 2] =
            [&|tiles| inclusion(&head, id, &record(0), tiles), &|tiles| consistency(&older, &head, tiles)];
        for question in questions {
            if let Ok(Step::Missing(missing)) = question(&tiles) {
                prop_assert!(missing.len() <= 8 + 8 * 64);
                for tile in missing {
                    tiles.insert(tile, vec![fill; tile.byte_len().unwrap()].into()).unwrap();
                }
                prop_assert!(matches!(question(&tiles), Err(ProofError::Inconsistent(_))));
            }
        }
    }
}

#[test]
fn a_tile_is_the_trees_as_wide_as_it_is_there_or_not_at_all() {
    let (heads, tiles) = log(&[700]);
    let head = heads[1];
    for (asked, there) in
        [("tile/8/0/000", "tile/8/0/000"), ("tile/8/0/002.p/9", "tile/8/0/002.p/188"), ("tile/8/1/000.p/1", "tile/8/1/000.p/2")]
    {
        let (asked, there) = (tile(asked), tile(there));
        assert_eq!(asked.in_tree(700), Some(there));
        let Step::Done(proven) = membership(&head, asked, &tiles).unwrap() else { panic!("all are at hand") };
        assert!(proven.tiles.contains(&there), "{proven:?}");
        let Step::Missing(missing) = membership(&head, asked, &Tiles::default()).unwrap() else { panic!("none is at hand") };
        assert!(missing.contains(&there), "{missing:?}");
        let mut spoiled = tiles.clone();
        spoiled.remove(there);
        let mut hashes = tiles.get(there).unwrap().to_vec();
        hashes[7] ^= 1;
        spoiled.insert(there, hashes.into()).unwrap();
        assert!(matches!(membership(&head, asked, &spoiled), Err(ProofError::Inconsistent(wrong)) if wrong.contains(&there)));
    }
    for beyond in [
        "tile/8/0/002",
        "tile/8/0/003.p/1",
        "tile/8/2/000.p/1",
        "tile/8/63/000.p/1",
        "tile/8/63/x999/x999/x999/x999/999",
        "tile/8/data/000",
    ] {
        let beyond = tile(beyond);
        assert_eq!(beyond.in_tree(700), None);
        assert!(matches!(membership(&head, beyond, &tiles), Err(ProofError::NotInTree { .. })), "{beyond}");
    }
}
