use proptest::prelude::*;

use super::super::key::SignerKey;
use super::*;

fn head() -> Head {
    Head { size: 5, root: Hash([7; 32]) }
}

#[test]
fn a_head_is_three_lines_and_whatever_follows() {
    let text = head().to_string();
    assert_eq!(text, format!("go.sum database tree\n5\n{}\n", Hash([7; 32])));
    assert_eq!(text.parse(), Ok(head()));
    assert_eq!(format!("{text}more\n\n").parse(), Ok(head()));
    for bad in [
        text.trim_end().to_owned(),
        text.replace('5', "05"),
        text.replace('5', "9223372036854775808"),
        text.replace('=', ""),
        format!("\n{text}"),
    ] {
        assert_eq!(bad.parse::<Head>(), Err(HeadError), "{bad}");
    }
    assert_eq!(format!("{text}{}", "x".repeat(NOTE_BYTES_MAX)).parse::<Head>(), Err(HeadError));
}

#[test]
fn others_signatures_are_passed_over_and_a_wrong_one_of_the_key_is_not() {
    let (key, other) = (SignerKey::generate("log.example.org").unwrap(), SignerKey::generate("log.example.org").unwrap());
    let note = |key: &SignerKey, size: u64| String::from_utf8(key.sign(&Head { size, ..head() }).note().to_vec()).unwrap();
    let line = |note: &str| format!("{}\n", note.lines().last().unwrap());
    let good = note(&key, 5);
    let open = |note: &str| SignedHead::open(note.as_bytes().to_vec(), &key.verifier()).map(|signed| *signed.head());
    assert_eq!(open(&good), Ok(head()));
    let others = line(&note(&other, 5));
    assert_eq!(open(&format!("{good}{others}")), Ok(head()));
    assert_eq!(open(&note(&other, 5)), Err(NoteError::Unsigned(key.name().to_owned())));
    let forged = good.replace("\n5\n", "\n6\n");
    assert_eq!(open(&forged), Err(NoteError::Signature(key.name().to_owned())));
    assert_eq!(open(&format!("{}{}", note(&other, 5), line(&note(&key, 6)))), Err(NoteError::Signature(key.name().to_owned())));
    assert_eq!(open(&format!("{good}{}", others.repeat(99))), Ok(head()));
    assert_eq!(open(&format!("{good}{}", others.repeat(100))), Err(NoteError::Malformed));
    assert_eq!(open(&format!("{}\n\n{good}", "x".repeat(NOTE_BYTES_MAX))), Err(NoteError::Malformed));
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b' '), any::<u8>()], 0..200), cut in 0usize..200) {
        let key = SignerKey::generate("log.example.org").unwrap();
        let mut note = key.sign(&head()).note().to_vec();
        prop_assert!(SignedHead::open(bytes.clone(), &key.verifier()).is_err());
        note.truncate(cut);
        note.extend_from_slice(&bytes);
        if let Ok(signed) = SignedHead::open(note, &key.verifier()) {
            prop_assert_eq!(signed.head(), &head());
        }
    }
}
