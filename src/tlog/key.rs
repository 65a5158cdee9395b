//! The keys of a log, in the text that x/mod's `sumdb/note` has for them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use sha2::{Digest as _, Sha256};
use signed_note::{Note, Signature, Signer as _, StandardSigner, StandardVerifier, Verifier as _, is_key_name_valid, key_id};

use super::head::{Head, SignedHead};

/// Longest text of a key that is looked at, in bytes.
const TEXT_MAX: usize = 1024;
/// The algorithm's byte for Ed25519, before the key.
const ED25519: u8 = 1;

/// Why a text is no key. It holds nothing of the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the parts that a key has, or not Ed25519's lengths.
    #[error("malformed key")]
    Malformed,
    /// Another algorithm than Ed25519.
    #[error("unknown algorithm")]
    Algorithm,
    /// The hash in it is not the one of its name and key.
    #[error("the key's hash does not fit its name and key")]
    Hash,
    /// A name with white space or a plus.
    #[error("a log's name has no white space and no +")]
    Name,
}

/// The public key of a log, with its name: `name+hash+key`. The name may have a path, as in `host/0a1b2c3d`.
#[derive(Clone)]
pub struct VerifierKey {
    verifier: StandardVerifier,
    text: Box<str>,
}

impl VerifierKey {
    /// The log's name.
    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    pub(super) fn verifier(&self) -> StandardVerifier {
        self.verifier.clone()
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.len() > TEXT_MAX {
            return Err(KeyError::Malformed);
        }
        let verifier = StandardVerifier::new(text).map_err(|e| match e {
            signed_note::VerifierError::Format => KeyError::Malformed,
            signed_note::VerifierError::Alg => KeyError::Algorithm,
            signed_note::VerifierError::Id => KeyError::Hash,
        })?;
        Ok(Self { verifier, text: text.into() })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for VerifierKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for VerifierKey {}

/// The private key of a log, with its name. Its text goes into the key file and nowhere else: nothing displays it.
#[derive(Clone)]
pub struct SignerKey {
    signer: StandardSigner,
    seed: SigningKey,
}

impl SignerKey {
    /// A new key, out of the system's randomness, for a log at `host`. Its name is `host/` and the first four bytes, in hex, of the
    /// SHA-256 of the public key: so a new key is another log, and never the same one with another past.
    ///
    /// # Errors
    ///
    /// [`KeyError::Name`] where the host is none for a name.
    ///
    /// # Panics
    ///
    /// Where the system has no randomness.
    pub fn generate(host: &str) -> Result<Self, KeyError> {
        let mut seed = [0; ed25519_dalek::SECRET_KEY_LENGTH];
        getrandom::fill(&mut seed).expect("the system gives randomness");
        Self::from_seed(host, seed)
    }

    fn from_seed(host: &str, seed: [u8; ed25519_dalek::SECRET_KEY_LENGTH]) -> Result<Self, KeyError> {
        let seed = SigningKey::from_bytes(&seed);
        let digest = Sha256::digest(seed.verifying_key().as_bytes());
        let name = format!("{host}/{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
        if host.is_empty() || !is_key_name_valid(&name) {
            return Err(KeyError::Name);
        }
        secret_text(&name, &seed).parse()
    }

    /// The log's name.
    pub fn name(&self) -> &str {
        self.signer.name()
    }

    /// The text for the key file, `PRIVATE+KEY+name+hash+key`: a secret.
    pub fn secret(&self) -> String {
        secret_text(self.name(), &self.seed)
    }

    /// The public half.
    pub fn verifier(&self) -> VerifierKey {
        let text = signed_note::new_ed25519_verifier_key(self.name(), &self.seed.verifying_key());
        text.parse().expect("made of a key and a name that were read")
    }

    /// Signs a head.
    pub fn sign(&self, head: &Head) -> SignedHead {
        let text = head.to_string();
        let signature = self.signer.sign(text.as_bytes()).expect("Ed25519 signs whatever it is given");
        let signature = Signature::new(self.name().to_owned(), self.signer.key_id(), signature);
        let note = signature.and_then(|signature| Note::new(text.as_bytes(), &[signature])).expect("a head is a note's text");
        SignedHead::signed(*head, note.to_bytes().into())
    }
}

fn secret_text(name: &str, seed: &SigningKey) -> String {
    let tagged = |key: &[u8]| [&[ED25519], key].concat();
    let hash = key_id(name, &tagged(seed.verifying_key().as_bytes()));
    format!("PRIVATE+KEY+{name}+{hash:08x}+{}", STANDARD.encode(tagged(seed.as_bytes())))
}

impl FromStr for SignerKey {
    type Err = KeyError;

    /// Reads [`SignerKey::secret`], of any name.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.len() > TEXT_MAX {
            return Err(KeyError::Malformed);
        }
        let signer = StandardSigner::new(text).map_err(|e| match e {
            signed_note::SignerError::Format => KeyError::Malformed,
            signed_note::SignerError::Alg => KeyError::Algorithm,
            signed_note::SignerError::Id => KeyError::Hash,
        })?;
        // The base64 may hold a + too: it is all that stands behind the fourth.
        let seed = text.splitn(5, '+').nth(4);
        let seed = seed.and_then(|key| STANDARD.decode(key).ok()).ok_or(KeyError::Malformed)?;
        let seed = seed.get(1..).and_then(|seed| SigningKey::try_from(seed).ok()).ok_or(KeyError::Malformed)?;
        Ok(Self { signer, seed })
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerKey({})", self.name())
    }
}

#[cfg(test)]
mod tests;
