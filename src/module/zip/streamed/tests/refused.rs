//! What has no hash while it passes, and why. Much of it can be read at rest.

use super::*;

/// Why there is no hash, in one piece and byte by byte.
#[track_caller]
fn why(bytes: &[u8]) -> String {
    let whole = hash_whole(bytes).unwrap_err().to_string();
    assert_eq!(hash_pieces(bytes, &[1]).unwrap_err().to_string(), whole);
    whole
}

/// Of a zip with this member between two others.
#[track_caller]
fn why_member(member: Member) -> String {
    why(&Archive::of([Member::as_go("first", "1"), member, Member::as_go("last", "3")]).bytes())
}

/// At rest it has a hash.
#[track_caller]
fn why_good(archive: &Archive) -> String {
    let bytes = archive.bytes();
    hash_zip(Cursor::new(&bytes)).unwrap();
    why(&bytes)
}

fn three() -> Archive {
    Archive::of(["1", "2", "3"].map(|name| Member::as_go(name, name)))
}

const LAYOUT: &str = "zip: not entries, directory and end record one behind the other";

#[test]
fn headers_that_say_otherwise_than_what_passed() {
    let stored = || Member::stored("a", "hello");
    let both = [stored(), Member::deflated("a", "hello")];
    for member in both {
        let lies: [(build::Lie, &str); 3] = [
            (|h| h[14] ^= 1, "zip: two different checksums of one entry"),
            (|h| h[18] += 1, "zip: two different packed sizes of one entry"),
            (|h| h[22] += 1, "zip: two different sizes of one entry"),
        ];
        for (lie, want) in lies {
            // Stored, the packed size is where it ends.
            if member.deflated || !want.contains("packed") {
                assert_eq!(why_member(member.clone().with_local(lie)), want);
            }
        }
    }
    assert_eq!(why_member(stored().with_local(|h| h[18] += 1)), "zip: two different checksums of one entry");
    // With a descriptor behind it a header may leave all open, or say what is true.
    let foretold = Member { foretold: true, ..Member::as_go("a", "hello") };
    assert_hashed(&Archive::of([foretold.clone()]).bytes());
    assert_eq!(why_member(foretold.clone().with_local(|h| h[14] ^= 1)), "zip: two different checksums of one entry");
    assert_eq!(why_member(foretold.clone().with_local(|h| h[18] ^= 1)), "zip: two different packed sizes of one entry");
    assert_eq!(why_member(foretold.with_local(|h| h[22] ^= 1)), "zip: two different sizes of one entry");
    assert_eq!(why_member(stored().with_local(|h| h[14..18].fill(0))), "zip: two different checksums of one entry");
}

#[test]
fn descriptors_that_say_otherwise_than_what_passed() {
    for wide in [false, true] {
        let member = || Member { descriptor: Some(Descriptor { signed: true, wide }), ..Member::deflated("a", "hello") };
        assert_eq!(why_member(member().with_descriptor(|d| d[4] ^= 1)), "zip: two different checksums of one entry");
        assert_eq!(why_member(member().with_descriptor(|d| d[8] ^= 1)), "zip: two different sizes of one entry");
        assert_eq!(why_member(member().with_descriptor(|d| *d.last_mut().unwrap() ^= 1)), "zip: two different sizes of one entry");
        assert_eq!(why_member(member().with_descriptor(Vec::clear)), "zip: two different checksums of one entry");
    }
}

#[test]
fn a_directory_that_says_otherwise_than_what_passed() {
    let lies: [(build::Lie, &str); 8] = [
        (|h| h[8] ^= 8, "zip: two different flags of one entry"),
        (|h| h[8] ^= 1, "zip: two different flags of one entry"),
        (|h| h[10] = 0, "zip: two different methods of one entry"),
        (|h| h[16] ^= 1, "zip: two different checksums of one entry"),
        (|h| h[20] += 1, "zip: two different packed sizes of one entry"),
        (|h| h[24] += 1, "zip: two different sizes of one entry"),
        (|h| h[42] += 1, "zip: two different offsets of one entry"),
        (|h| h[46] = b'b', "zip: two different names of one entry"),
    ];
    for (lie, want) in lies {
        assert_eq!(why_member(Member::as_go("a", "hello").with_listed(lie)), want);
    }
    // How well it is deflated and how the name is written says nothing of the bytes.
    let member = Member::as_go("a", "hello").with_listed(|h| (h[8], h[9]) = (h[8] ^ 6, h[9] ^ 8));
    assert_hashed(&Archive::of([member]).bytes());
    assert_eq!(why_member(Member { wide: true, ..Member::stored("a", "x") }.with_listed(|h| h[30] = 8)), "zip: not a valid zip file");
}

/// Each of them has a hash at rest, by what the directory says.
#[test]
fn what_only_the_directory_would_read_so() {
    let with = |member: Member| Archive::of([Member::as_go("first", "1"), member]);
    let name = "zip: two different names of one entry";
    assert_eq!(why_good(&with(Member::as_go("a", "hello").with_listed(|h| h[46] = b'b'))), name);
    assert_eq!(why_good(&with(Member::as_go("a", "hello").with_local(|h| h[30] = b'b'))), name);
    let flags = "zip: two different flags of one entry";
    assert_eq!(why_good(&with(Member::stored("a", "hello").with_listed(|h| h[8] = 1))), flags);
    assert_eq!(why_good(&with(Member::as_go("a", "hello").with_local(|h| h[6] = 0))), "zip: two different checksums of one entry");
    let method = "zip: two different methods of one entry";
    // It reads other bytes than those that were inflated.
    let stored = Member::deflated("a", "hello").with_listed(|h| {
        let packed = h[20];
        (h[10], h[24]) = (0, packed);
        h[16..20].fill(0);
    });
    assert_eq!(why_good(&with(stored)), method);
    // No checksum is none that agrees.
    assert_eq!(
        why_good(&with(Member::stored("a", "hello").with_listed(|h| h[16..20].fill(0)))),
        "zip: two different checksums of one entry"
    );
    // The stream ends before its data does.
    let short = Member::deflated("a", "hello").with_data(|data| data.push(0));
    assert_eq!(why_good(&with(short)), "zip: two different packed sizes of one entry");
}

#[test]
fn what_the_directory_does_not_list_once() {
    assert_eq!(why_good(&Archive { listed: Some(vec![0, 2]), ..three() }), "zip: an entry that the directory does not list");
    assert_eq!(why_good(&Archive { listed: Some(vec![]), ..three() }), "zip: an entry that the directory does not list");
    assert_eq!(why(&Archive { listed: Some(vec![0, 1, 2, 1]), ..three() }.bytes()), "zip: entries overlap");
    let folders = Archive::of([Member { name: b"d/".to_vec(), ..Member::default() }]);
    assert_eq!(why_good(&Archive { listed: Some(vec![0, 0]), ..folders }), "zip: entries overlap");
}

#[test]
fn something_before_between_or_behind_the_parts() {
    assert_eq!(why_good(&Archive { before: b"#!/bin/sh\n".to_vec(), ..three() }), LAYOUT);
    let mut gap = three();
    gap.members[1].gap = b"gap!".to_vec();
    assert_eq!(why_good(&gap), "zip: two different sizes of one entry");
    gap.members[1] = Member { gap: b"gap!".to_vec(), ..Member::deflated("2", "2") };
    assert_eq!(why_good(&gap), LAYOUT);
    let mut gap = three();
    gap.members[2] = Member { gap: b"gap!".to_vec(), ..Member::stored("3", "3") };
    assert_eq!(why_good(&gap), LAYOUT);
    // The size in the end record is then wrong, but a header stands where it says, without anything before.
    assert_eq!(why_good(&Archive { before_end: b"gap!".to_vec(), ..three() }), LAYOUT);
    assert_eq!(why_good(&Archive { behind: b"behind".to_vec(), ..three() }), LAYOUT);
    assert_eq!(why_good(&Archive { wide: true, between_ends: b"gap!".to_vec(), ..three() }), LAYOUT);
    assert_eq!(why_good(&Archive { wide: true, behind: b"behind".to_vec(), ..three() }), LAYOUT);
    // Longer than what is looked through for the end record.
    assert_eq!(why(&Archive { behind: vec![0; 200_000], ..three() }.bytes()), "zip: not a valid zip file");
}

#[test]
fn end_records_that_speak_of_another_directory() {
    let bytes = three().bytes();
    let directory = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let end = bytes.len() - 22;
    // Two of three, from the second header on.
    let mut fewer = bytes.clone();
    let header_len = (end - directory) as u8 / 3;
    (fewer[end + 10], fewer[end + 12], fewer[end + 16]) = (2, fewer[end + 12] - header_len, fewer[end + 16] + header_len);
    hash_zip(Cursor::new(&fewer)).unwrap();
    assert_eq!(why(&fewer), LAYOUT);
    // The entries are to be found further on than their headers say.
    let mut moved = bytes.clone();
    moved[end + 16] -= 1;
    assert_eq!(why(&moved), LAYOUT);
    assert_eq!(why(&Archive { end_lie: Some(|end| end[10] += 1), ..three() }.bytes()), LAYOUT);
    assert_eq!(why(&Archive { end_lie: Some(|end| end[20] += 1), ..three() }.bytes()), "zip: not a valid zip file");
    // A whole zip in the comment of another: readers of directories see that one.
    let inner = Archive::of([Member::stored("other", "other")]).bytes();
    assert_eq!(why_good(&Archive { comment: inner, ..three() }), LAYOUT);
    // The same directory, by an end record in the comment of the first.
    let second = bytes[end..].to_vec();
    assert_eq!(why_good(&Archive { comment: second, ..three() }), LAYOUT);
    // A directory whose end record speaks of what has passed long since.
    let long = Archive::of([Member::as_go("a", "a"), Member::stored("b", &"b".repeat(300_000))]);
    assert_eq!(why(&Archive { end_lie: Some(|end| end[16..20].fill(0)), ..long }.bytes()), LAYOUT);
}

#[test]
fn entries_behind_the_directory_began() {
    let bytes = three().bytes();
    let directory = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let twice = [&bytes[..bytes.len() - 22], &bytes[..directory], &bytes[directory..]].concat();
    assert_eq!(why(&twice), LAYOUT);
}

#[test]
fn entries_that_cannot_be_walked_or_read() {
    let open = |content: &str| Member { descriptor: Some(Descriptor { signed: true, wide: false }), ..Member::stored("a", content) };
    for content in ["hello", "PK\x07\x08 PK\x03\x04", ""] {
        assert_eq!(why_good(&Archive::of([open(content)])), "zip: a stored entry of unknown size");
    }
    assert_hashed(&Archive::of([Member { foretold: true, ..open("hello") }]).bytes());
    for flag in [1, 0x10, 0x20, 0x40, 0x80, 0x2000] {
        let member = Member { flags: flag, ..Member::deflated("a", "hello") };
        assert_eq!(why_good(&Archive::of([member])), format!("zip: unsupported flags {flag:#06x}"));
    }
    assert_eq!(why_member(Member::stored("a", "x").with_local(|h| h[8] = 12)), "zip: unsupported compression algorithm");
    assert_eq!(why_member(Member::deflated("a", "x").with_data(|data| data[0] = 7)), "flate: corrupt input");
    assert_eq!(why_member(Member::stored("a/", "x")), "zip: not a valid zip file");
    assert_eq!(why_member(Member::stored("a\nb", "x")), "dirhash: filenames with newlines are not supported");
    assert_eq!(why_member(Member { wide: true, ..Member::stored("a", "x") }.with_local(|h| h[28] = 8)), "zip: not a valid zip file");
}

#[test]
fn a_zip_that_is_cut() {
    let bytes = Archive { comment: b"comment".to_vec(), ..three() }.bytes();
    for len in 0..bytes.len() {
        let why = why(&bytes[..len]);
        assert!(["unexpected EOF", "zip: not a valid zip file"].contains(&why.as_str()), "{len}: {why}");
    }
}

#[test]
fn once_refused_it_stays_so() {
    let bytes = three().bytes();
    let mut hasher = StreamHasher::new();
    hasher.push(b"#!/bin/sh").unwrap_err();
    assert!(matches!(hasher.push(&bytes), Err(Unverifiable::Refused)));
    assert!(matches!(hasher.push(&[]), Err(Unverifiable::Refused)));
    assert!(matches!(hasher.finish(), Err(Unverifiable::Refused)));
}

#[test]
fn more_entries_than_the_limit() {
    let mut hasher = StreamHasher::new();
    let folder = Archive::of([Member { name: b"d/".to_vec(), ..Member::default() }]).bytes();
    let thousand = folder[..32].repeat(1000);
    for _ in 0..ENTRIES_MAX / 1000 {
        hasher.push(&thousand).unwrap();
    }
    assert!(matches!(hasher.push(&folder[..32]), Err(Unverifiable::Zip(ReadError::Entries))));
}

#[test]
fn longer_names_than_the_limit() {
    let mut hasher = StreamHasher::new();
    let named = |len: usize| {
        let member = Member { name: vec![b'n'; len], ..Member::default() };
        Archive::of([member]).bytes()[..30 + len].to_vec()
    };
    let full = named(1 << 15);
    for _ in 0..NAME_BYTES_MAX >> 15 {
        hasher.push(&full).unwrap();
    }
    hasher.push(&named(0)).unwrap();
    assert!(matches!(hasher.push(&named(1)), Err(Unverifiable::Zip(ReadError::Entries))));
}

#[test]
fn more_unpacked_than_the_limit() {
    // Ten files of 50 MiB, and then one byte more.
    let content = "x".repeat(ZIP_BYTES_MAX as usize / 10);
    let packed = deflate(content.as_bytes());
    let mut hasher = StreamHasher::new();
    let local = |packed: usize, size: usize, crc: u32| {
        let mut header = b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0".to_vec();
        header.extend([crc, packed as u32, size as u32].iter().flat_map(|v| v.to_le_bytes()));
        header.extend([0; 4]);
        header
    };
    let large = [local(packed.len(), content.len(), crc32fast::hash(content.as_bytes())), packed].concat();
    for _ in 0..10 {
        hasher.push(&large).unwrap();
    }
    let one = deflate(b"x");
    let one = [local(one.len(), 1, crc32fast::hash(b"x")), one].concat();
    assert!(matches!(hasher.push(&one), Err(Unverifiable::Zip(ReadError::Unpacked))));
}
