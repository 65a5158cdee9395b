use super::super::RecordText;
use super::super::proof::{consistency, inclusion};
use super::*;

fn record(id: u64) -> RecordText {
    RecordText::new(format!("record {id}\n").as_bytes()).unwrap()
}

fn leaves(from: u64, to: u64) -> Vec<Hash> {
    (from..to).map(|id| record(id).hash()).collect()
}

/// RFC 6962's definition, straight.
fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of_empty_tree(),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Hash::of_node(root_of(left), root_of(right))
        }
    }
}

fn grown(head: &Head, leaves: &[Hash], tiles: &mut Tiles) -> Head {
    let Step::Done(grown) = grow(head, leaves, tiles).unwrap() else { panic!("the edge is at hand") };
    for (tile, content) in grown.tiles {
        tiles.insert(tile, content).unwrap();
    }
    grown.head
}

#[test]
fn a_tree_grown_in_any_steps_has_the_root_that_is_defined() {
    let all = leaves(0, 700);
    for step in [1, 3, 255, 256, 257, 700] {
        let (mut head, mut tiles) = (Head::empty(), Tiles::default());
        for piece in all.chunks(step) {
            head = grown(&head, piece, &mut tiles);
            let size = usize::try_from(head.size).unwrap();
            if step > 1 || size % 37 == 0 {
                assert_eq!(head.root, root_of(&all[..size]), "{size} by {step}");
            }
        }
        assert_eq!(head.size, 700);
    }
}

#[test]
fn what_grew_proves_its_records_and_its_past() {
    let (mut heads, mut tiles) = (vec![Head::empty()], Tiles::default());
    for size in [1, 2, 255, 256, 257, 513, 70_000] {
        let last = *heads.last().unwrap();
        heads.push(grown(&last, &leaves(last.size, size), &mut tiles));
    }
    let newest = heads.last().unwrap();
    for head in &heads {
        assert!(matches!(consistency(head, newest, &tiles), Ok(Step::Done(_))), "{head:?}");
        for id in [0, 1, 254, 255, 256, 300, 69_999].into_iter().filter(|id| *id < head.size) {
            assert!(matches!(inclusion(head, id, &record(id), &tiles), Ok(Step::Done(_))), "{id} in {head:?}");
            assert_eq!(inclusion(head, id, &record(id + 1), &tiles), Err(ProofError::WrongRecord { id }));
        }
    }
}

#[test]
fn nothing_grows_on_an_edge_that_is_not_the_head_s() {
    let mut tiles = Tiles::default();
    let head = grown(&Head::empty(), &leaves(0, 300), &mut tiles);
    let Ok(Step::Missing(missing)) = grow(&head, &leaves(300, 301), &Tiles::default()) else { panic!() };
    assert_eq!(missing.iter().map(ToString::to_string).collect::<Vec<_>>(), ["tile/8/1/000.p/1", "tile/8/0/001.p/44"]);
    let other = Head { root: Hash([7; 32]), ..head };
    assert_eq!(grow(&other, &leaves(300, 301), &tiles), Err(GrowError::Edge(ProofError::Inconsistent(missing))));
}

#[test]
fn a_log_ends_where_go_cannot_count_on() {
    for size in [SIZE_MAX, u64::MAX] {
        let full = Head { size, root: Hash([0; 32]) };
        assert_eq!(grow(&full, &leaves(0, 1), &Tiles::default()), Err(GrowError::TooLarge));
    }
}
