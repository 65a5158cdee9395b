use proptest::prelude::*;

use super::*;

#[test]
fn an_answer_is_a_number_a_record_and_a_note() {
    let bytes = b"7\na\nb\n\nnote\n\nsigned\n";
    let lookup = Lookup::parse(bytes).unwrap();
    assert_eq!((lookup.id, lookup.record.as_str(), &lookup.note[..]), (7, "a\nb\n", &b"note\n\nsigned\n"[..]));
    assert_eq!(lookup.to_bytes(), bytes);
}

#[test]
fn what_is_malformed_or_too_long_is_refused() {
    for id in ["", "07", "+7", "-7", "x", "9223372036854775808", "18446744073709551616", &"1".repeat(40)] {
        assert_eq!(Lookup::parse(format!("{id}\na\n\n").as_bytes()), Err(LookupError::Id), "{id}");
    }
    assert_eq!(Lookup::parse(b"7"), Err(LookupError::Id));
    assert_eq!(Lookup::parse(b"7\na\n"), Err(LookupError::Record(RecordError::Text)));
    let long = |len: usize| Lookup::parse(&[b"7\na\n\n", &vec![b'x'; len][..]].concat()).map(drop);
    assert_eq!(long(NOTE_BYTES_MAX), Ok(()));
    assert_eq!(long(NOTE_BYTES_MAX + 1), Err(LookupError::Note));
}

proptest! {
    #[test]
    fn any_bytes_are_written_back_or_refused(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'1'), any::<u8>()], 0..64)) {
        if let Ok(lookup) = Lookup::parse(&bytes) {
            prop_assert_eq!(lookup.to_bytes(), bytes);
        }
    }
}
