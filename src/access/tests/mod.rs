mod log_ins;

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::watch;

use super::limiter::{LIMITED_AT, SHUT_AT};
use super::*;
use crate::config::check_password_hash;
use crate::module::{ModulePath, Version};
use crate::store::{
    Delete, Fresh, HostedIndex, HostedModule, KnownModules, Ledger, LedgerLine, MovePath, Moved, NewVersion, Publish, Release, Rev, Scope,
    Seal, SealedContent, TokenHash, TokenRecord, VersionRecord, unix_now,
};

/// Tokens alone.
#[derive(Default)]
pub(super) struct Tokens {
    pub(super) kept: Mutex<Vec<Arc<TokenRecord>>>,
    away: std::sync::atomic::AtomicBool,
}

#[async_trait]
impl Records for Tokens {
    async fn publish(&self, _: NewVersion) -> Result<Publish, StoreError> {
        unreachable!()
    }
    async fn delete(&self, _: &OwnerName, _: &ModulePath, _: &Version, _: &str) -> Result<Delete, StoreError> {
        unreachable!()
    }
    async fn expire(&self, _: &VersionRecord, _: &str) -> Result<Delete, StoreError> {
        unreachable!()
    }
    async fn move_path(&self, _: MovePath) -> Result<Moved, StoreError> {
        unreachable!()
    }
    async fn seal(&self, _: &VersionRecord) -> Result<Seal, StoreError> {
        unreachable!()
    }
    async fn sealed(&self, _: &ModulePath, _: &Version) -> Result<Option<SealedContent>, StoreError> {
        unreachable!()
    }
    async fn make_public(&self, _: &str, _: &str) -> Result<crate::store::MakePublic, StoreError> {
        unreachable!()
    }
    async fn release_host(&self, _: &str, _: &str) -> Result<Release, StoreError> {
        unreachable!()
    }
    async fn release_path(&self, _: &ModulePath, _: &str) -> Result<Release, StoreError> {
        unreachable!()
    }
    async fn module(&self, _: &ModulePath) -> Result<Option<Arc<HostedModule>>, StoreError> {
        unreachable!()
    }
    async fn hosted_index(&self) -> Result<Fresh<HostedIndex>, StoreError> {
        unreachable!()
    }
    fn changes(&self) -> watch::Receiver<Rev> {
        unreachable!()
    }
    async fn ledger_first(&self, _: &ModulePath, _: &str, _: &str) -> Result<Ledger, StoreError> {
        unreachable!()
    }
    async fn ledger(&self, _: u64, _: usize) -> Result<Vec<LedgerLine>, StoreError> {
        unreachable!()
    }
    async fn known_put(&self, _: &ModulePath) -> Result<(), StoreError> {
        unreachable!()
    }
    fn known(&self) -> Arc<dyn KnownModules> {
        unreachable!()
    }
    async fn token_put(&self, token: TokenRecord) -> Result<Rev, StoreError> {
        self.kept.lock().unwrap().push(Arc::new(token));
        Ok(Rev(1))
    }
    async fn token_revoke(&self, id: &str) -> Result<bool, StoreError> {
        let mut kept = self.kept.lock().unwrap();
        let before = kept.len();
        kept.retain(|token| token.id != id);
        Ok(kept.len() < before)
    }
    async fn token(&self, hash: &TokenHash) -> Result<Option<Arc<TokenRecord>>, StoreError> {
        if self.away.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(StoreError::Full);
        }
        Ok(self.kept.lock().unwrap().iter().find(|token| token.hash == *hash).cloned())
    }
    async fn tokens(&self) -> Result<Vec<Arc<TokenRecord>>, StoreError> {
        Ok(self.kept.lock().unwrap().clone())
    }
    async fn writable(&self) -> Result<(), StoreError> {
        unreachable!()
    }
}

const SETTINGS: &str = r#"
[owners.open]
visibility = "public"
members = ["alice"]
[owners.inner]
visibility = "internal"
members = ["alice"]
[owners.secret]
members = ["alice"]
"#;

/// Owners `open`, `inner` and `secret`, all with the member alice; bob, a stranger; root, an admin. Passwords are `NAME's`.
struct House {
    access: Access,
    log_ins: LogIns,
    tokens: Arc<Tokens>,
}

/// Where requests come from unless a test says otherwise.
const HOME: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

fn at(n: u32) -> Option<IpAddr> {
    Some(IpAddr::V4(n.into()))
}

impl House {
    fn new(more: &str) -> Self {
        // Cheap ones: what the tests look at is not their strength.
        let hash = |password: &str| {
            let params = argon2::Params::new(64, 1, 1, None).unwrap();
            argon2::PasswordHasher::hash_password(&argon2::Argon2::from(params), password.as_bytes()).unwrap().to_string()
        };
        let mut text = format!("{more}\n{SETTINGS}");
        for (name, admin) in [("alice", false), ("bob", false), ("root", true)] {
            text.push_str(&format!("[users.{name}]\npassword_hash = '{}'\nadmin = {admin}\n", hash(&format!("{name}'s"))));
        }
        let tokens = Arc::new(Tokens::default());
        let log_ins = LogIns::new().unwrap();
        let access = Access::new(&Config::from_toml(&text).unwrap(), Arc::clone(&tokens) as Arc<dyn Records>, log_ins.clone());
        Self { access, log_ins, tokens }
    }

    /// These settings anew, and the same log-ins.
    fn reload(&mut self, more: &str) {
        let again = Self::new(more);
        self.access = Access::new(
            &Config { owners: again.access.owners, users: again.access.users, ..Config::from_toml("").unwrap() },
            Arc::clone(&self.tokens) as Arc<dyn Records>,
            self.log_ins.clone(),
        );
    }

    async fn log_in(&self, user: &str, password: &str, from: Option<IpAddr>) -> &'static str {
        self.show(&basic(user, password), from).await
    }

    async fn show(&self, header: &str, from: Option<IpAddr>) -> &'static str {
        match self.access.authenticate(Some(header), from).await {
            Ok(_) => "in",
            Err(AuthError::BadCredentials) => "wrong",
            Err(AuthError::Limited(wait)) => {
                assert!(!wait.is_zero());
                "limited"
            }
            Err(AuthError::Busy(_)) => "busy",
            Err(AuthError::Store(_)) => "store",
        }
    }

    /// Shows so many different wrong passwords.
    async fn be_wrong(&self, times: u32, from: Option<IpAddr>) {
        for n in 0..times {
            assert_eq!(self.log_in("alice", &format!("guess {n}"), from).await, "wrong", "{n}");
        }
    }

    async fn token(&self, scopes: &[Scope], owners: &[&str]) -> Principal {
        let text = self.token_text(scopes, owners, None).await;
        self.access.authenticate(Some(&format!("Bearer {text}")), HOME).await.unwrap()
    }

    async fn token_text(&self, scopes: &[Scope], owners: &[&str], lifetime: Option<Duration>) -> String {
        let owners = owners.iter().map(|owner| owner.parse().unwrap()).collect();
        let (record, text) = new_token("ci", scopes.to_vec(), owners, lifetime).unwrap();
        self.tokens.token_put(record).await.unwrap();
        text
    }

    async fn is_refused(&self, header: &str) -> bool {
        matches!(self.access.authenticate(Some(header), HOME).await, Err(AuthError::BadCredentials))
    }

    fn user(&self, name: &str) -> Principal {
        self.access.user(&name.parse().unwrap()).unwrap()
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn credentials_are_read_in_every_accepted_form() {
    let (_, token) = new_token("t", vec![Scope::Read], vec![], None).unwrap();
    let read = |header: &str| Credentials::from_header(header);
    let is_token = |header: &str| read(header) == Ok(Credentials::Token(token.clone()));
    for header in [
        format!("Bearer {token}"),
        format!("bearer  {token} "),
        format!("token {token}"),
        format!("Token\t{token}"),
        basic("__token__", &token),
        basic("alice", &token),
        basic(&token, ""),
        basic(&token, "x-oauth-basic"),
        basic("", &token),
    ] {
        assert!(is_token(&header), "{header}");
    }
    let password = |user: &str, password: &str| Ok(Credentials::Password { user: user.into(), password: password.into() });
    assert_eq!(read(&basic("alice", "a:b: c")), password("alice", "a:b: c"));
    assert_eq!(read("BASIC YTpi"), password("a", "b"));
    assert_eq!(read("Basic YTpiYw"), password("a", "bc"), "without padding");
    assert_eq!(read(&basic("alice", "mg_short")), password("alice", "mg_short"));
    for bad in [
        "",
        " ",
        "Basic",
        "Basic ",
        "Bearer",
        "Bearer  ",
        "Basic !!!",
        "Basic YWxpY2U=",
        "Basic /w==",
        "Digest x=y",
        "Negotiate abc",
        "é é",
    ] {
        assert_eq!(read(bad), Err(Malformed), "{bad:?}");
    }
    assert!(!format!("{:?}", read(&basic("alice", "hunter2"))).contains("hunter2"));
}

#[tokio::test]
async fn passwords_are_verified_and_right_ones_remembered() {
    let house = House::new("");
    for _ in 0..2 {
        let alice = house.access.authenticate(Some(&basic("alice", "alice's")), HOME).await.unwrap();
        assert_eq!((alice.text(), alice.is_admin(), alice.is_anonymous()), ("user:alice", false, false));
    }
    assert_eq!(house.log_ins.hashed(), 1);
    assert!(house.access.authenticate(Some(&basic("root", "root's")), HOME).await.unwrap().is_admin());
    let long = "x".repeat(password::PASSWORD_BYTES_MAX + 1);
    for (user, password) in
        [("alice", "bob's"), ("alice", ""), ("bob", "alice's"), ("nobody", "alice's"), ("Alice", "alice's"), ("", ""), ("alice", &long)]
    {
        assert!(house.is_refused(&basic(user, password)).await, "{user}");
    }
    assert!(house.is_refused("Basic ???").await);
    assert!(house.access.authenticate(None, HOME).await.unwrap().is_anonymous());
}

#[tokio::test]
async fn many_at_once_with_one_password_all_get_in() {
    let house = House::new("");
    let header = basic("alice", "alice's");
    let all = futures::future::join_all((0..50).map(|_| house.access.authenticate(Some(&header), HOME))).await;
    assert!(all.into_iter().all(|one| one.is_ok()));
    assert_eq!(house.log_ins.hashed(), 1);
}

#[test]
fn an_unknown_name_is_held_against_some_real_hash_always_the_same() {
    let house = House::new("");
    let passwords = &house.access.passwords;
    let one = passwords.decoy("mallory").unwrap();
    assert_eq!(passwords.decoy("mallory").unwrap(), one);
    assert!(house.access.users.values().any(|user| user.password_hash == *one));
    let nobody = password::Passwords::new(&BTreeMap::new(), house.log_ins.clone());
    assert_eq!(nobody.decoy("mallory"), None);
    assert!(check_password_hash(password::DECOY).is_ok());
}

#[test]
fn a_hash_that_we_make_is_one_that_we_take() {
    let hash = hash_password("correct horse").unwrap();
    assert!(check_password_hash(&hash).is_ok());
    let mut memory = vec![argon2::Block::new(); password::blocks_of(&hash).unwrap()];
    assert!(password::is_right(&hash, "correct horse", &mut memory));
    assert!(!password::is_right(&hash, "correct horse\n", &mut memory));
    assert_ne!(hash, hash_password("correct horse").unwrap());
    assert!(matches!(hash_password(""), Err(HashError::Empty)));
    assert!(matches!(hash_password(&"x".repeat(1025)), Err(HashError::TooLong)));
    assert!(!password::is_right("no hash", "x", &mut memory));
}

#[test]
fn hashes_of_all_costs_are_verified_in_one_memory_which_is_left_empty() {
    use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher as _, PasswordVerifier as _, Version};
    let hash = |(kib, passes, lanes, len): (u32, u32, u32, usize)| {
        let params = Params::new(kib, passes, lanes, Some(len)).unwrap();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password(b"right").unwrap().to_string()
    };
    let costs = [(512, 1, 1, 32), (8, 3, 1, 16), (100, 2, 3, 64), (512, 2, 4, 32)];
    let mut hashes: Vec<String> = costs.map(hash).to_vec();
    // The version may be left out.
    hashes.push(hashes[0].replace("$v=19", ""));
    let mut memory = vec![Block::new(); 512];
    for hash in hashes.iter().chain(hashes.iter().rev()) {
        assert!(check_password_hash(hash).is_ok(), "{hash}");
        let theirs = |password: &str| Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok();
        for password in ["right", "wrong", ""] {
            assert_eq!(password::is_right(hash, password, &mut memory), theirs(password), "{hash} {password}");
            assert!(memory.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)), "{hash}");
        }
        let needed = password::blocks_of(hash).unwrap();
        assert!(!password::is_right(hash, "right", &mut memory[..needed - 1]), "{hash}");
    }
}

#[tokio::test]
async fn a_revoked_an_expired_and_an_unknown_token_are_refused_at_once() {
    let house = House::new("");
    let text = house.token_text(&[Scope::Read], &[], Some(Duration::from_secs(3600))).await;
    let header = basic("__token__", &text);
    let who = house.access.authenticate(Some(&header), HOME).await.unwrap();
    assert_eq!(who.text(), "token:ci");
    let id = house.tokens.kept.lock().unwrap()[0].id.clone();
    assert!(house.tokens.token_revoke(&id).await.unwrap());
    assert!(house.is_refused(&header).await);

    let (mut record, text) = new_token("old", vec![Scope::Read], vec![], None).unwrap();
    record.expires_unix = Some(unix_now());
    house.tokens.token_put(record).await.unwrap();
    assert!(house.is_refused(&format!("token {text}")).await);
    assert!(house.is_refused("Bearer mg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").await);
    assert!(house.is_refused("Bearer x").await);

    house.tokens.away.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(house.access.authenticate(Some("Bearer x"), HOME).await, Err(AuthError::Store(_))), "a failure is no refusal");
}

#[test]
fn a_token_is_random_named_by_a_word_and_can_do_something() {
    let (record, text) = new_token("ci.x-1", vec![Scope::Read, Scope::Admin, Scope::Read], vec![], Some(Duration::from_secs(60))).unwrap();
    assert!(text.starts_with("mg_") && text.len() == 46 && token::looks_like_one(&text));
    assert_eq!(record.hash, token_hash(&text));
    assert_eq!(record.scopes, [Scope::Read, Scope::Admin]);
    assert_eq!(record.expires_unix, Some(record.created_unix + 60));
    let (other, other_text) = new_token("ci", vec![Scope::Read], vec![], None).unwrap();
    assert!(other_text != text && other.id != record.id && other.expires_unix.is_none());
    for name in ["", "a b", "a\tb", "a\nb", "é", &"x".repeat(65)] {
        assert!(matches!(new_token(name, vec![Scope::Read], vec![], None), Err(TokenError::Name(_))), "{name:?}");
    }
    assert!(matches!(new_token("x", vec![], vec![], None), Err(TokenError::NoScope)));
    for lifetime in [Duration::ZERO, Duration::from_millis(999), Duration::MAX] {
        assert!(matches!(new_token("x", vec![Scope::Read], vec![], Some(lifetime)), Err(TokenError::Lifetime)));
    }
}

/// Rights of one caller at open, inner, secret and gone: a letter each for reading, publishing and deleting.
/// `O` open, `s` sign in, `h` hidden, `f` forbidden.
fn rights(access: &Access, who: &Principal) -> String {
    let letter = |judged: BaseAccess| match judged {
        BaseAccess::Open => 'O',
        BaseAccess::SignIn => 's',
        BaseAccess::Hidden => 'h',
        BaseAccess::Forbidden => 'f',
    };
    let at = |owner: &str| {
        let owner = owner.parse().unwrap();
        [access.base(who, &owner), access.publish(who, &owner), access.delete(who, &owner)].map(letter).iter().collect::<String>()
    };
    ["open", "inner", "secret", "gone"].map(at).join(" ")
}

#[tokio::test]
async fn who_may_do_what_where() {
    let house = House::new("");
    let access = &house.access;
    use Scope::{Admin, Delete, Publish, Read};
    let table = [
        ("anonymous", Principal::anonymous(), "Oss sss sss sss"),
        ("member", house.user("alice"), "OOO OOO OOO hfh"),
        ("stranger", house.user("bob"), "Off Off hfh hfh"),
        ("admin", house.user("root"), "OOO OOO OOO OfO"),
        ("reads", house.token(&[Read], &[]).await, "Off Off Off hfh"),
        ("publishes", house.token(&[Publish], &[]).await, "OOf OOf OOf hfh"),
        ("deletes", house.token(&[Delete], &[]).await, "OfO OfO OfO hfh"),
        ("both", house.token(&[Publish, Delete], &[]).await, "OOO OOO OOO hfh"),
        ("admin token", house.token(&[Admin], &[]).await, "OOO OOO OOO OfO"),
        ("bound to secret, reads", house.token(&[Read], &["secret"]).await, "Off hfh Off hfh"),
        ("bound to inner, publishes", house.token(&[Publish], &["inner"]).await, "Off OOf hfh hfh"),
        ("bound to open, all", house.token(&[Admin], &["open"]).await, "OOO hfh hfh hfh"),
        ("bound to gone", house.token(&[Admin], &["gone"]).await, "Off hfh hfh hfh"),
    ];
    for (name, who, expected) in table {
        assert_eq!(rights(access, &who), expected, "{name}");
        assert!(access.may_read_public(&who), "{name}");
        assert_eq!(who.is_admin(), matches!(name, "admin" | "admin token"), "{name}");
    }
}

#[tokio::test]
async fn where_anonymous_may_not_read_all_must_sign_in() {
    let house = House::new("access.anonymous = 'none'");
    let nobody = Principal::anonymous();
    assert_eq!(rights(&house.access, &nobody), "sss sss sss sss");
    assert!(!house.access.may_read_public(&nobody));
    assert_eq!(rights(&house.access, &house.user("bob")), "Off Off hfh hfh");
}

#[test]
fn visibility_is_that_of_the_settings() {
    use crate::config::Visibility;
    let house = House::new("");
    let of = |owner: &str| house.access.owner_visibility(&owner.parse().unwrap());
    assert_eq!(of("open"), Some(Visibility::Public));
    assert_eq!(of("inner"), Some(Visibility::Internal));
    assert_eq!(of("secret"), Some(Visibility::Private));
    assert_eq!(of("gone"), None);
    assert_eq!(house.access.user(&"mallory".parse().unwrap()), None);
}

#[tokio::test]
async fn a_new_data_directory_gets_one_admin_token_and_only_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, tokens) = (tempfile::tempdir().unwrap(), Tokens::default());
    let text = ensure_admin_token(dir.path(), &tokens).await.unwrap().expect("a token");
    let file = dir.path().join(ADMIN_TOKEN_FILE);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{text}\n"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!dir.path().join("admin-token.new").exists());
    let kept = tokens.tokens().await.unwrap();
    assert_eq!((kept.len(), kept[0].hash, &kept[0].scopes[..]), (1, token_hash(&text), &[Scope::Admin][..]));
    assert_eq!(ensure_admin_token(dir.path(), &tokens).await.unwrap(), None);
    assert!(tokens.token_revoke(&kept[0].id).await.unwrap());
    assert_eq!(ensure_admin_token(dir.path(), &tokens).await.unwrap(), None, "revoked is revoked");
    assert!(tokens.tokens().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_crash_while_the_admin_token_is_made_is_made_good_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let pending = dir.path().join("admin-token.new");
    let (record, text) = new_token("admin", vec![Scope::Admin], vec![], None).unwrap();
    for known in [false, true] {
        let tokens = Tokens::default();
        std::fs::write(&pending, format!("{text}\n")).unwrap();
        if known {
            tokens.token_put(record.clone()).await.unwrap();
        }
        assert_eq!(ensure_admin_token(dir.path(), &tokens).await.unwrap(), Some(text.clone()));
        let kept = tokens.tokens().await.unwrap();
        assert_eq!((kept.len(), kept[0].hash), (1, record.hash));
        std::fs::remove_file(dir.path().join(ADMIN_TOKEN_FILE)).unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_has_tokens_gets_none_and_rubbish_is_written_over() {
    let (dir, tokens) = (tempfile::tempdir().unwrap(), Tokens::default());
    std::fs::write(dir.path().join("admin-token.new"), "mg_torn").unwrap();
    let text = ensure_admin_token(dir.path(), &tokens).await.unwrap().expect("a token");
    assert!(token::looks_like_one(&text));
    std::fs::remove_file(dir.path().join(ADMIN_TOKEN_FILE)).unwrap();
    assert_eq!(ensure_admin_token(dir.path(), &tokens).await.unwrap(), None);
}
