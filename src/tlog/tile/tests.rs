use proptest::prelude::*;

use super::*;

fn tile(path: &str) -> Option<Tile> {
    path.parse().ok()
}

#[test]
fn a_path_is_read_as_it_is_written_and_no_other_way() {
    for path in ["tile/8/0/000", "tile/8/63/x001/000.p/255", "tile/8/data/x123/x000/456.p/1", "tile/8/0/x999/x999/x999/x999/x999/999"] {
        assert_eq!(tile(path).map(|t| t.to_string()).as_deref(), Some(path));
    }
    for path in [
        "tile/8/0/000.p/0",
        "tile/8/0/000.p/256",
        "tile/8/0/000.p/01",
        "tile/8/0/000.p/+1",
        "tile/8/64/000",
        "tile/8/256/000",
        "tile/8/-1/000",
        "tile/8/0/x000/001",
        "tile/8/0/001/001",
        "tile/8/0/x001",
        "tile/8/0/1",
        "tile/8/0/",
        "tile/8/0/x001/x000/x000/x000/x000/x000/000",
        "tile/7/0/000",
        "8/0/000",
        "",
    ] {
        assert_eq!(tile(path), None, "{path}");
    }
}

#[test]
fn new_data_tiles_are_those_that_changed() {
    let new = |older, newer| Tile::new_data(older, newer).map(|t| t.to_string()).collect::<Vec<_>>();
    assert_eq!(new(0, 0), [""; 0]);
    assert_eq!(new(5, 5), [""; 0]);
    assert_eq!(new(0, 1), ["tile/8/data/000.p/1"]);
    assert_eq!(new(1, 256), ["tile/8/data/000"]);
    assert_eq!(new(256, 257), ["tile/8/data/001.p/1"]);
    assert_eq!(new(255, 513), ["tile/8/data/000", "tile/8/data/001", "tile/8/data/002.p/1"]);
    assert_eq!(new(9, 5), [""; 0]);
    assert_eq!(Tile::new_data(u64::MAX - 1, u64::MAX).count(), 1);
}

#[test]
fn a_wider_data_tile_answers_for_a_narrower_one() {
    let records: Vec<RecordText> = (0..5).map(|i| RecordText::new(format!("a {i}\nb {i}\n").as_bytes()).unwrap()).collect();
    let content = write_data(&records);
    assert_eq!(split_data(&content, 5).as_ref(), Some(&records));
    assert_eq!(split_data(&content, 2).as_deref(), Some(&records[..2]));
    assert_eq!(split_data(&content, 6), None);
    assert_eq!(split_data(&content[..content.len() - 1], 5), None);
}

proptest! {
    #[test]
    fn any_path_is_refused_or_written_back(path in "(tile/)?8?/?(data|[0-9]{0,3})/(x?[0-9]{0,3}/?){0,8}(\\.p/[0-9]{0,3})?|.*") {
        if let Some(tile) = tile(&path) {
            prop_assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn any_content_is_split_or_refused(content in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..64), width in 0u16..5) {
        if let Some(records) = split_data(&content, width) {
            prop_assert!(content.starts_with(&write_data(&records)));
        }
    }
}

#[test]
fn a_tree_has_so_much_of_a_tile() {
    for (path, size, width) in [
        ("tile/8/0/000", 0, 0),
        ("tile/8/0/000", 3, 3),
        ("tile/8/0/000", 257, 256),
        ("tile/8/0/001.p/9", 257, 1),
        ("tile/8/data/001", 300, 44),
        ("tile/8/1/000", 255, 0),
        ("tile/8/1/000", 600, 2),
        ("tile/8/63/x999/x999/x999/x999/x999/999", u64::MAX, 0),
    ] {
        assert_eq!(tile(path).unwrap().width_in(size), width, "{path} of {size}");
    }
    assert_eq!(Tile::of_records(1234), (tile("tile/8/0/x001/234").unwrap(), tile("tile/8/data/x001/234").unwrap()));
    assert!(tile("tile/8/0/x001/000").unwrap().is_first_in_folder() && !tile("tile/8/0/001").unwrap().is_first_in_folder());
}
