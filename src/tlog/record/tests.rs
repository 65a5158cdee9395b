use proptest::prelude::*;

use super::*;

const TEXT: &str = "example.com/m v1.0.0 h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=\n\
                    example.com/m v1.0.0/go.mod h1:u5fzIrRInkL8MaO1cbRkUHT64v303YIT5KEqpNr7jRs=\n";

#[test]
fn a_record_is_read_as_it_is_written_and_no_other_way() {
    let record: Record = TEXT.parse().unwrap();
    assert_eq!((record.path.as_str(), record.version.as_str()), ("example.com/m", "v1.0.0"));
    assert_eq!(record.text().as_str(), TEXT);
    let lines: Vec<&str> = TEXT.lines().collect();
    for bad in [
        String::new(),
        format!("{}\n", lines[0]),
        format!("{}\n{}\n", lines[1], lines[0]),
        format!("{TEXT}x\n"),
        TEXT.replace("/go.mod", ""),
        TEXT.replace("h1:L", "h1: L"),
        TEXT.replacen("v1.0.0", "v1.0.1", 1),
        TEXT.replace("v1.0.0", "v1.0"),
        TEXT.replace("example.com/m", "example"),
        TEXT.trim_end().to_owned(),
        TEXT.replace('\n', "\r\n"),
    ] {
        assert_eq!(bad.parse::<Record>(), Err(RecordError::Lines), "{bad}");
    }
}

#[test]
fn a_version_is_found_among_other_lines_unless_it_is_there_twice() {
    let find = |text: &str| {
        let text = RecordText::new(text.as_bytes()).unwrap();
        text.find(&"example.com/m".parse().unwrap(), &"v1.0.0".parse().unwrap())
    };
    let record = find(TEXT).unwrap();
    let more = format!("example.com/m v1.0.0 h2:x\nexample.com/m v1.0.0/go.mod h2:y\n# more\n{TEXT}example.com/m v1.0.1 h1:x\n");
    assert_eq!(find(&more), Some(record));
    let zero = "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(find(&format!("{TEXT}example.com/m v1.0.0 {zero}\n")), None);
    assert_eq!(find(&format!("example.com/m v1.0.0 {zero}\n")), None);
    assert_eq!(find(&TEXT.replace("example.com/m", "example.com/mm")), None);
}

#[test]
fn a_text_has_a_length_and_no_control_characters() {
    let lines = |len: usize| [vec![b'a'; len - 1], vec![b'\n']].concat();
    assert!(RecordText::new(&lines(TEXT_MAX)).is_ok());
    assert_eq!(RecordText::new(&lines(TEXT_MAX + 1)), Err(RecordError::TooLong));
    assert!(RecordText::cut(&[lines(TEXT_MAX), vec![b'\n']].concat()).is_ok());
    assert_eq!(RecordText::cut(&[lines(TEXT_MAX + 1), vec![b'\n']].concat()), Err(RecordError::TooLong));
    for bad in ["", "a", "a\n\nb\n", "a\tb\n", "a\r\n", "a\u{0}\n"] {
        assert_eq!(RecordText::new(bad.as_bytes()), Err(RecordError::Text), "{bad:?}");
    }
    assert_eq!(RecordText::new(b"\xff\n"), Err(RecordError::Text));
}

proptest! {
    #[test]
    fn any_bytes_are_a_text_or_refused(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b' '), any::<u8>()], 0..64)) {
        if let Ok((text, rest)) = RecordText::cut(&bytes) {
            prop_assert_eq!([text.as_str().as_bytes(), b"\n", rest].concat(), bytes);
            prop_assert!(text.as_str().parse::<Record>().is_err());
        }
    }
}
