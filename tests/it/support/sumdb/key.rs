//! What signs the fixture's tree: keys of RFC 8032's test vectors, so that a database has the same verifier key in every run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signed_note::{Note, Signature, Signer as _, StandardSigner, key_id};
use tlog_tiles::Hash;

/// The algorithm's number before a key.
const ED25519: u8 = 1;
/// A note has that many signatures at most, whoever made them.
const SIGNATURES_MAX: usize = 100;

/// A key pair of RFC 8032, section 7.1, in hexadecimal.
struct Pair {
    secret: &'static str,
    public: &'static str,
}

const OWN: Pair = Pair {
    secret: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    public: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
};
const ANOTHER: Pair = Pair {
    secret: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    public: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
};

/// How a head is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hand {
    /// By the database.
    Own,
    /// Under the database's name and key id, with a signature that is none.
    Forged,
    /// By another key under the database's name.
    Another,
    /// By the database, and by so many others that there is one signature too many.
    Crowd,
}

/// A database's name and keys.
pub(super) struct Keys {
    name: String,
    own: StandardSigner,
    another: StandardSigner,
}

impl Keys {
    /// The keys under a name.
    pub(super) fn of(name: &str) -> Self {
        Self { name: name.to_owned(), own: OWN.signer(name), another: ANOTHER.signer(name) }
    }

    /// The verifier key.
    pub(super) fn verifier(&self) -> String {
        OWN.verifier(&self.name)
    }

    /// The verifier key of [`Hand::Another`].
    pub(super) fn another_verifier(&self) -> String {
        ANOTHER.verifier(&self.name)
    }

    /// The signed note of a tree's head.
    pub(super) fn head(&self, size: u64, root: Hash, hand: Hand) -> String {
        let text = format!("go.sum database tree\n{size}\n{root}\n");
        let by = |signer: &StandardSigner| {
            let signature = signer.sign(text.as_bytes()).expect("sign");
            (signer.key_id(), signature)
        };
        let named = |name: &str, (id, signature): (u32, Vec<u8>)| Signature::new(name.to_owned(), id, signature).expect("a signature");
        let signatures = match hand {
            Hand::Own => vec![named(&self.name, by(&self.own))],
            Hand::Forged => {
                let (id, mut signature) = by(&self.own);
                signature[0] ^= 1;
                vec![named(&self.name, (id, signature))]
            }
            Hand::Another => vec![named(&self.name, by(&self.another))],
            Hand::Crowd => {
                let others = (0..SIGNATURES_MAX).map(|i| named(&format!("witness-{i}.example"), by(&self.another)));
                std::iter::once(named(&self.name, by(&self.own))).chain(others).collect()
            }
        };
        let note = Note::new(text.as_bytes(), &signatures).expect("a note");
        String::from_utf8(note.to_bytes()).expect("a note is UTF-8")
    }
}

impl Pair {
    fn public(&self) -> Vec<u8> {
        with_algorithm(self.public)
    }

    fn verifier(&self, name: &str) -> String {
        let public = self.public();
        format!("{name}+{:08x}+{}", key_id(name, &public), STANDARD.encode(public))
    }

    fn signer(&self, name: &str) -> StandardSigner {
        let secret = STANDARD.encode(with_algorithm(self.secret));
        let key = format!("PRIVATE+KEY+{name}+{:08x}+{secret}", key_id(name, &self.public()));
        StandardSigner::new(&key).expect("a key of the RFC")
    }
}

fn with_algorithm(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits"));
    std::iter::once(ED25519).chain(digits).collect()
}
