use proptest::prelude::*;

use super::*;

#[test]
fn a_new_key_is_named_by_its_host_and_its_public_half() {
    let key = SignerKey::from_seed("log.example.org", [7; 32]).unwrap();
    let verifier = key.verifier();
    assert_eq!(verifier.name(), key.name());
    let public = STANDARD.decode(verifier.to_string().splitn(3, '+').nth(2).unwrap()).unwrap();
    let hex: String = Sha256::digest(&public[1..])[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(key.name(), format!("log.example.org/{hex}"));
    assert_ne!(SignerKey::generate("a.example").unwrap().name(), SignerKey::generate("a.example").unwrap().name());
    for host in ["", "a b", "a+b", "a\u{a0}"] {
        assert_eq!(SignerKey::generate(host).map(drop), Err(KeyError::Name), "{host}");
    }
}

#[test]
fn texts_there_and_back_and_the_secret_stays_inside() {
    // Base64 with and without a + in it.
    for seed in 0..40 {
        let key = SignerKey::from_seed("log.example.org:8443", [seed; 32]).unwrap();
        let again: SignerKey = key.secret().parse().unwrap();
        assert_eq!(again.secret(), key.secret());
        assert_eq!(key.verifier().to_string().parse(), Ok(key.verifier()));
        assert_eq!(format!("{key:?}"), format!("SignerKey({})", key.name()));
    }
}

#[test]
fn what_is_wrong_with_a_key_is_told_apart() {
    let key = SignerKey::from_seed("log.example.org", [7; 32]).unwrap();
    let text = key.verifier().to_string();
    let verifier = |text: &str| text.parse::<VerifierKey>().map(drop);
    assert_eq!(verifier(&text.replacen("log", "dog", 1)), Err(KeyError::Hash));
    assert_eq!(verifier("log.example.org"), Err(KeyError::Malformed));
    assert_eq!(verifier(&format!("{text}\n")), Err(KeyError::Malformed));
    assert_eq!(verifier(&"x".repeat(TEXT_MAX + 1)), Err(KeyError::Malformed));
    let other = [2; 33];
    assert_eq!(verifier(&format!("a+{:08x}+{}", key_id("a", &other), STANDARD.encode(other))), Err(KeyError::Algorithm));
    let signer = |text: &str| text.parse::<SignerKey>().map(drop);
    assert_eq!(signer(&key.secret().replacen("log", "dog", 1)), Err(KeyError::Hash));
    assert_eq!(signer(&text), Err(KeyError::Malformed));
}

proptest! {
    #[test]
    fn any_text_is_refused_or_written_back(text in "(PRIVATE\\+KEY\\+)?[a-z.+]{0,5}\\+[0-9a-f]{0,9}\\+[A-Za-z0-9+/=]{0,60}|.*") {
        prop_assert!(text.parse::<SignerKey>().is_err());
        prop_assert!(text.parse::<VerifierKey>().is_err());
    }
}
