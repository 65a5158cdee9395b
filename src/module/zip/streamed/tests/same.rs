//! What has a hash while it passes has that hash at rest, and ordinary zips have one.

use std::io::Write as _;

use zip::CompressionMethod::{Deflated, Stored};
use zip::write::SimpleFileOptions;

use super::*;

/// Contents that deflate well, badly and not at all.
fn contents() -> Vec<Vec<u8>> {
    let mut noise = 1u32;
    let noisy = (0..200_000).map(|_| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    });
    vec![Vec::new(), b"x".to_vec(), b"package m\n".repeat(9), noisy.collect(), vec![0; 300_000], b"PK\x05\x06PK\x03\x04".repeat(50)]
}

#[test]
fn zips_of_the_zip_crate() {
    for method in [Stored, Deflated] {
        for large in [false, true] {
            let options = SimpleFileOptions::default().compression_method(method).large_file(large);
            let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
            out.add_directory("d/", SimpleFileOptions::default()).unwrap();
            for (i, content) in contents().iter().enumerate() {
                out.start_file(format!("é{i}"), options).unwrap();
                out.write_all(content).unwrap();
            }
            assert_hashed(&out.finish().unwrap().into_inner());
        }
    }
}

#[test]
fn zips_that_the_zip_crate_writes_without_going_back() {
    for large in [false, true] {
        let options = SimpleFileOptions::default().compression_method(Deflated).large_file(large);
        let mut out = zip::ZipWriter::new_stream(Vec::new());
        for (i, content) in contents().iter().enumerate() {
            out.start_file(format!("m{i}"), options).unwrap();
            out.write_all(content).unwrap();
        }
        assert_hashed(&out.finish().unwrap().into_inner());
    }
}

#[test]
fn zips_without_entries() {
    assert_hashed(&Archive::default().bytes());
    assert_hashed(&Archive { wide: true, comment: b"c".to_vec(), ..Archive::default() }.bytes());
}

#[test]
fn a_comment_as_long_as_can_be() {
    let member = Member::as_go("a", &"content ".repeat(20_000));
    for wide in [false, true] {
        let archive = Archive { comment: vec![b'c'; 0xffff], wide, ..Archive::of([member.clone()]) };
        assert_hashed(&archive.bytes());
    }
}

#[test]
fn the_directory_in_another_order() {
    let members = ["b", "a", "c"].map(|name| Member::as_go(name, name));
    assert_hashed(&Archive { listed: Some(vec![2, 0, 1]), ..Archive::of(members) }.bytes());
}

#[test]
fn of_one_name_the_entry_that_the_directory_lists_last() {
    let members = ["1", "2", "3"].map(|content| Member::as_go("a", content));
    let mut hashes = Vec::new();
    for last in 0..3 {
        let listed = Some(vec![(last + 1) % 3, (last + 2) % 3, last]);
        let bytes = Archive { listed, ..Archive::of(members.clone()) }.bytes();
        assert_hashed(&bytes);
        hashes.push(hash_whole(&bytes).unwrap());
    }
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
}

/// An unsigned descriptor whose checksum looks like the signature is taken for a signed one by whoever reads the zip at rest.
#[test]
fn a_checksum_that_looks_like_a_signature() {
    // Four bytes that have this checksum, found by running CRC-32 backwards.
    let content = forge_crc(0x0807_4b50);
    assert_eq!(crc32fast::hash(&content), 0x0807_4b50);
    for signed in [true, false] {
        let descriptor = Some(Descriptor { signed, wide: false });
        let member = Member { content: content.clone(), descriptor, ..Member::deflated("a", "") };
        let bytes = Archive::of([member, Member::as_go("b", "")]).bytes();
        assert_eq!(hash_whole(&bytes).is_ok(), signed);
        assert_eq!(hash_zip(Cursor::new(&bytes)).is_ok(), signed);
    }
}

/// The four bytes of this CRC-32.
fn forge_crc(crc: u32) -> Vec<u8> {
    let mut state = !crc;
    for _ in 0..32 {
        state = if state >> 31 == 1 { (state ^ 0xedb8_8320) << 1 | 1 } else { state << 1 };
    }
    (state ^ u32::MAX).to_le_bytes().to_vec()
}

fn member() -> impl Strategy<Value = Member> {
    let name = "[ab]{0,3}(/[ab]{1,2})?";
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        (0u8..3, 0usize..5000).prop_map(|(byte, len)| vec![byte; len]),
        Just(Vec::new()),
        Just(b"PK\x03\x04PK\x05\x06".to_vec()),
    ];
    let descriptor = prop::option::of((any::<bool>(), any::<bool>()).prop_map(|(signed, wide)| Descriptor { signed, wide }));
    (name, content, any::<bool>(), descriptor, any::<bool>(), any::<bool>()).prop_map(
        |(name, content, deflated, descriptor, foretold, wide)| {
            // Stored, with its size left open, it has no hash.
            let descriptor = descriptor.filter(|_| deflated || foretold && !content.is_empty());
            Member { name: name.into_bytes(), content, deflated, descriptor, foretold, wide, ..Member::default() }
        },
    )
}

prop_compose! {
    fn archive()(
        mut members in prop::collection::vec(member(), 0..6),
        folder: bool,
        comment in prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 0..2000)],
        wide: bool,
        keys in prop::collection::vec(any::<u8>(), 7),
    ) -> Archive {
        if folder {
            members.push(Member { name: b"ab/".to_vec(), ..Member::default() });
        }
        let mut listed: Vec<usize> = (0..members.len()).collect();
        listed.sort_by_key(|&i| keys[i]);
        Archive { members, listed: Some(listed), comment, wide, ..Archive::default() }
    }
}

/// How bytes go wrong, or are made to.
#[derive(Clone, Debug)]
enum Damage {
    Set(usize, u8),
    Word(usize, u32),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    /// A part from the first place is set in at the second.
    Copy(usize, usize, usize),
    /// Two parts of one length change places.
    Swap(usize, usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || any::<prop::sample::Index>().prop_map(|i| i.index(1 << 16));
    prop_oneof![
        3 => (at(), any::<u8>()).prop_map(|(at, value)| Damage::Set(at, value)),
        2 => (at(), prop_oneof![any::<u32>(), 0u32..400, Just(u32::MAX)]).prop_map(|(at, value)| Damage::Word(at, value)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (at(), 1usize..60).prop_map(|(at, len)| Damage::Remove(at, len)),
        1 => (at(), at(), 1usize..120).prop_map(|(from, to, len)| Damage::Copy(from, to, len)),
        1 => (at(), at(), 1usize..60).prop_map(|(a, b, len)| Damage::Swap(a, b, len)),
    ]
}

/// Half the damage is done where headers begin: places are counted from one of the signatures.
fn harm(bytes: &mut Vec<u8>, damage: &Damage, signature: Option<usize>) {
    let heads: Vec<usize> = bytes.windows(2).enumerate().filter(|(_, w)| w == b"PK").map(|(at, _)| at).collect();
    let len = bytes.len();
    let place = |at: usize| match signature {
        Some(i) if !heads.is_empty() => (heads[(i + at / 48) % heads.len()] + at % 48).min(len),
        _ => at % (len + 1),
    };
    match *damage {
        Damage::Set(at, value) => bytes.iter_mut().skip(place(at)).take(1).for_each(|byte| *byte = value),
        Damage::Word(at, value) => bytes.iter_mut().skip(place(at)).zip(value.to_le_bytes()).for_each(|(byte, value)| *byte = value),
        Damage::Insert(at, ref new) => drop(bytes.splice(place(at)..place(at), new.iter().copied())),
        Damage::Remove(at, n) => drop(bytes.drain(place(at)..(place(at) + n).min(len))),
        Damage::Copy(from, to, n) => {
            let part = bytes[place(from)..(place(from) + n).min(len)].to_vec();
            drop(bytes.splice(place(to)..place(to), part));
        }
        Damage::Swap(a, b, n) => {
            let (a, b) = (place(a), place(b));
            for i in 0..n.min(len - a.max(b)) {
                bytes.swap(a + i, b + i);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_good_zip_has_its_hash_in_any_pieces(archive in archive(), lens in prop::collection::vec(1usize..700, 1..6)) {
        let bytes = archive.bytes();
        // Comments of bytes by chance may hold an end record.
        let at_rest = hash_zip(Cursor::new(&bytes)).unwrap();
        prop_assert_eq!(hash_pieces(&bytes, &lens).unwrap(), at_rest);
        prop_assert_eq!(hash_pieces(&bytes, &[1]).unwrap(), at_rest);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn a_damaged_zip_has_no_other_hash(
        archive in archive(),
        damages in prop::collection::vec((damage(), prop::option::of(0usize..30)), 1..4),
        lens in prop::collection::vec(1usize..700, 1..6),
    ) {
        let mut bytes = archive.bytes();
        for (damage, signature) in &damages {
            harm(&mut bytes, damage, *signature);
        }
        let passed = hash_pieces(&bytes, &lens);
        if let Ok(h1) = &passed {
            prop_assert_eq!(*h1, hash_zip(Cursor::new(&bytes)).unwrap());
        }
        prop_assert_eq!(passed.ok(), hash_whole(&bytes).ok());
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), magic in 0usize..3) {
        let magic: &[u8] = [&b""[..], b"PK\x03\x04", b"PK\x01\x02"][magic];
        prop_assert!(hash_pieces(&[magic, &bytes].concat(), &[7, 1, 30]).is_err());
    }
}
