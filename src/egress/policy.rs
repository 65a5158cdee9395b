//! The judgement: rules over the settings, what is hosted and claimed, and what is known.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::names::{Name, is_known_repository, is_never_public, is_shared_root, key_prefixes, path_prefixes, possible_roots};
use super::patterns::Patterns;
use super::rule::{Class, Opened, Rule, Verdict, Where};
use super::tree::Tree;
use crate::config::{Config, Owner, Private, PublicHosts, Sourced, UnknownHosts, Visibility};
use crate::module::{ModulePath, OwnerName};
use crate::observe::spawn_blocking;
use crate::store::{Claim, Fresh, HostedIndex, KnownModules, MadePublic, Records, StoreError, unix_now};

/// The rules of what may leave, over one configuration and one store. Cheap to ask: look-ups by path element.
pub struct Policy {
    pub(super) records: Arc<dyn Records>,
    pub(super) hosts: Arc<PublicHosts>,
    pub(super) claim_hosts: bool,
    pub(super) unknown_hosts: Sourced<UnknownHosts>,
    pub(super) owners: BTreeMap<OwnerName, Visibility>,
    exceptions: Patterns,
    /// `private.patterns`, then every owner's `modules`.
    pub(super) private: Patterns,
    /// The settings' own, without the owners'.
    pub(super) operators: Patterns,
    /// What private patterns spell out and do not match, and what lies above that, by key.
    spelled: HashMap<String, Where>,
    tree: RwLock<Option<(Arc<HostedIndex>, Arc<Tree>)>>,
    building: tokio::sync::Mutex<()>,
}

/// What is hosted and claimed, as of one revision, ready to be asked.
pub(super) struct View {
    pub(super) index: Fresh<HostedIndex>,
    tree: Arc<Tree>,
}

/// What a judgement rests on beside the settings.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    /// What is hosted; none to leave it out of account.
    pub(super) tree: Option<&'a Tree>,
    pub(super) claims: &'a BTreeMap<String, Claim>,
    /// What became of unknown hosts, and which are made public; none to leave that out of account too.
    pub(super) made_public: Option<&'a BTreeMap<String, MadePublic>>,
    /// A host, lower case, that counts as claimed by the publish of the path that is judged.
    pub(super) claiming: Option<&'a str>,
    pub(super) known: &'a dyn KnownModules,
}

impl View {
    pub(super) fn facts<'a>(&'a self, known: &'a dyn KnownModules) -> Facts<'a> {
        Facts { tree: Some(&self.tree), claims: &self.index.claims, made_public: Some(&self.index.made_public), claiming: None, known }
    }
}

impl Facts<'_> {
    fn claim(&self, path: &ModulePath, host: &str) -> Option<Where> {
        let (path, since_unix) = match self.claims.get(host) {
            Some(claim) => (&claim.path, claim.since_unix),
            None if self.claiming == Some(host) => (path, unix_now()),
            None => return None,
        };
        Some(Where::Claim { host: host.to_owned(), path: path.clone(), since_unix })
    }
}

impl Policy {
    /// The policy of these settings over this store.
    pub fn new(config: &Config, records: Arc<dyn Records>) -> Self {
        Self::of(&config.private, &config.owners, records)
    }

    pub(super) fn of(settings: &Private, owners: &BTreeMap<OwnerName, Owner>, records: Arc<dyn Records>) -> Self {
        let mut exceptions = Patterns::default();
        settings.public.iter().for_each(|pattern| exceptions.add(pattern, None));
        let (mut private, mut operators) = (Patterns::default(), Patterns::default());
        for pattern in &settings.patterns {
            private.add_with_twin(pattern, None);
            operators.add(pattern, None);
        }
        for (name, owner) in owners {
            owner.modules.iter().for_each(|pattern| private.add_with_twin(pattern, Some(name)));
        }
        let hosts = Arc::new(settings.hosts.clone());
        let spelled = spelled(&private, &hosts);
        let owners = owners.iter().map(|(name, owner)| (name.clone(), owner.visibility)).collect();
        Self {
            records,
            hosts,
            claim_hosts: settings.claim_hosts,
            unknown_hosts: settings.unknown_hosts.clone(),
            owners,
            exceptions,
            private,
            operators,
            spelled,
            tree: RwLock::new(None),
            building: tokio::sync::Mutex::new(()),
        }
    }

    /// What the rules say of a path now. Judges only: nothing is noted, nothing may leave on the strength of it.
    pub async fn decide(&self, path: &ModulePath) -> Result<Verdict, StoreError> {
        let view = self.view().await?;
        Ok(self.judge(path, view.facts(&*self.records.known())))
    }

    /// Whether a hosted module whose owner `sees` lets through lies above or below this path: the go command asks for every
    /// parent of a package on its way to the module.
    pub async fn is_near_visible(&self, path: &ModulePath, sees: &(dyn Fn(&OwnerName) -> bool + Sync)) -> Result<bool, StoreError> {
        let view = self.view().await?;
        let above = path_prefixes(path.as_str()).filter(|above| *above != path.as_str());
        let above = above.filter_map(|above| view.index.hosted.get(&above.parse::<ModulePath>().ok()?));
        Ok(above.chain(view.tree.owners_below(path)).any(sees))
    }

    /// Whether unknown hosts are private.
    pub fn holds_unknown_hosts(&self) -> bool {
        self.unknown_hosts.value == UnknownHosts::Hold
    }

    /// Whether this is the host or organisation of a shared host, which is no module: it cannot be published.
    pub fn is_shared_root(&self, path: &ModulePath) -> bool {
        is_shared_root(&self.hosts, &Name::new(path))
    }

    /// What is hosted now. One task a revision makes the tree, and only if hosted paths or tombstones changed.
    pub(super) async fn view(&self) -> Result<View, StoreError> {
        let index = self.records.hosted_index().await?;
        if let Some(tree) = self.tree_of(&index) {
            return Ok(View { index, tree });
        }
        let _building = self.building.lock().await;
        // Whoever waited here takes what is hosted by now, and finds it made.
        let index = self.records.hosted_index().await?;
        if let Some(tree) = self.tree_of(&index) {
            return Ok(View { index, tree });
        }
        let (of, hosts, kept) = (Arc::clone(&index), Arc::clone(&self.hosts), self.kept());
        // Off the async threads: a hundred thousand paths take tens of milliseconds.
        let built = spawn_blocking(move || match kept {
            // Most changes are of versions, claims or tokens. What the tree is made of is compared, no revision is trusted.
            Some((before, tree)) if before.hosted == of.hosted && before.tombstones == of.tombstones => tree,
            _ => Arc::new(Tree::build(&of, &hosts)),
        });
        let tree = built.await.map_err(|e| StoreError::Unavailable(Box::new(e)))?;
        *self.tree.write().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(&index), Arc::clone(&tree)));
        Ok(View { index, tree })
    }

    fn kept(&self) -> Option<(Arc<HostedIndex>, Arc<Tree>)> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tree that is kept, if it is of this very index.
    fn tree_of(&self, index: &Arc<HostedIndex>) -> Option<Arc<Tree>> {
        self.kept().filter(|(of, _)| Arc::ptr_eq(of, index)).map(|(_, tree)| tree)
    }

    /// The rules, in their order. All are asked, whichever speaks: the time must not tell a hosted path from one that another rule
    /// keeps private.
    pub(super) fn judge(&self, path: &ModulePath, facts: Facts<'_>) -> Verdict {
        let name = Name::new(path);
        let verdict = |rule, where_| Verdict::new(path, rule, where_);
        let hosted = facts.tree.and_then(|tree| tree.at(path, &name));
        let near = self.near(path, &name, facts);
        // `lib.git` is fetched from where `lib` is: an exception that may not open the one may not open the other.
        let twin = facts.tree.is_some_and(|tree| tree.like(name.key()).is_some());
        let exception = self.exceptions.first_match(name.lower());
        let by_name = self.judge_by_name(path, &name, facts);
        if let Some(place) = hosted {
            return verdict(Rule::Hosted, Where::Hosted(place.clone()));
        }
        if !twin && let Some(exception) = exception {
            let opened = near.into_iter().map(|near| near.opened).next();
            return Verdict { opened, ..verdict(Rule::Exception, exception.where_().clone()) };
        }
        if let Some(shut) = near.iter().find(|near| !near.known) {
            return verdict(shut.opened.rule, shut.opened.by.clone());
        }
        match by_name.rule {
            Rule::Public | Rule::UnknownHost if by_name.is_public() => {
                Verdict { opened: near.into_iter().map(|near| near.opened).next(), ..by_name }
            }
            _ => by_name,
        }
    }

    /// The rules after those that look at what is hosted.
    fn judge_by_name(&self, path: &ModulePath, name: &Name, facts: Facts<'_>) -> Verdict {
        let verdict = |rule, where_| Verdict::new(path, rule, where_);
        if let Some(pattern) = self.private_pattern(name) {
            return verdict(Rule::Pattern, pattern.clone());
        }
        if let Some(claim) = facts.claim(path, name.host()) {
            return verdict(Rule::Claim, claim);
        }
        if is_never_public(name.host()) {
            return verdict(Rule::NeverPublic, Where::BuiltIn);
        }
        if is_shared_root(&self.hosts, name) {
            return verdict(Rule::SharedRoot, Where::BuiltIn);
        }
        if self.unknown_hosts.value != UnknownHosts::Allow && self.is_unknown(name.host(), facts) {
            let unknown = verdict(Rule::UnknownHost, Where::Key(self.unknown_hosts.source.clone()));
            return match self.unknown_hosts.value {
                UnknownHosts::Hold => unknown,
                UnknownHosts::Audit | UnknownHosts::Allow => Verdict { class: Class::Public, ..unknown },
            };
        }
        verdict(Rule::Public, self.vouched(name.host(), facts))
    }

    /// What speaks for a host that no rule keeps private.
    fn vouched(&self, host: &str, facts: Facts<'_>) -> Where {
        if self.is_listed(host) {
            return self.hosts.sources.get(host).cloned().map_or(Where::Shipped, Where::Key);
        }
        if let Some(made) = facts.made_public.and_then(|made| made.get(host)) {
            return Where::MadePublic { since_unix: made.since_unix };
        }
        match self.unknown_hosts.value {
            UnknownHosts::Allow => Where::UnknownHostAllowed,
            UnknownHosts::Audit | UnknownHosts::Hold => Where::KnownHost,
        }
    }

    /// Whether the host is neither listed nor made public, and no module of it is known.
    fn is_unknown(&self, host: &str, facts: Facts<'_>) -> bool {
        let made_public = facts.made_public.is_none_or(|made| made.contains_key(host));
        !self.is_listed(host) && !made_public && !facts.known.any_at_or_below(host)
    }

    /// The private pattern that matches, with or without the path's `.git`s.
    fn private_pattern(&self, name: &Name) -> Option<&Where> {
        let found = self.private.first_match(name.lower()).or_else(|| self.private.first_match(&name.plain()));
        found.map(|set| set.where_())
    }

    /// What the path lies above or below, in the order of the rules: at most one of each.
    fn near(&self, path: &ModulePath, name: &Name, facts: Facts<'_>) -> Vec<Near> {
        let known_itself = facts.known.contains(path);
        let ancestor = self.above(name, facts.tree).map(|by| Near { opened: Opened { rule: Rule::Ancestor, by }, known: known_itself });
        let tree = facts.tree;
        let below =
            tree.and_then(|tree| below_path(tree, name)).map(|by| Near { opened: Opened { rule: Rule::Below, by }, known: known_itself });
        let in_repository = tree
            .and_then(|tree| self.in_repository(tree, name, facts.known))
            .map(|(by, known)| Near { opened: Opened { rule: Rule::Below, by }, known: known || known_itself });
        ancestor.into_iter().chain(below).chain(in_repository).collect()
    }

    /// What is hosted, or spelled out by a private pattern, at paths below this one.
    fn above(&self, name: &Name, tree: Option<&Tree>) -> Option<Where> {
        if name.depth() == 1 && self.hosts.shared.contains(name.host()) {
            return None;
        }
        let hosted = tree.and_then(|tree| tree.below(name.key())).map(|place| Where::Hosted(place.clone()));
        hosted.or_else(|| self.spelled.get(name.key()).cloned())
    }

    /// The hosted path whose repository, at a shared host, this path is in; and whether a known module opens that repository.
    fn in_repository(&self, tree: &Tree, name: &Name, known: &dyn KnownModules) -> Option<(Where, bool)> {
        if !self.hosts.shared.contains(name.host()) {
            return None;
        }
        let judged = possible_roots(name).into_iter().filter_map(|root| {
            // Looked up whether or not anything is hosted there: the time must not tell.
            let opened = is_known_repository(&root, known);
            tree.in_repository(&root).map(|place| (Where::Hosted(place.clone()), opened))
        });
        // One that nothing opens decides.
        judged.min_by_key(|(_, opened)| *opened)
    }
}

/// Something that speaks for keeping a path private, and whether a known module silences it.
struct Near {
    opened: Opened,
    known: bool,
}

/// The hosted path or tombstone that this path lies below, or is but for `.git`.
fn below_path(tree: &Tree, name: &Name) -> Option<Where> {
    key_prefixes(name.key()).find_map(|prefix| tree.like(prefix)).map(|place| Where::Hosted(place.clone()))
}

/// What private patterns spell out, down to the host, on shared hosts down to `host/org`. What a pattern matches itself
/// is left out: there the pattern rule speaks, which no known module opens.
fn spelled(private: &Patterns, hosts: &PublicHosts) -> HashMap<String, Where> {
    let mut spelled = HashMap::new();
    for set in private.iter() {
        let literal = set.literal();
        if literal.is_empty() {
            continue;
        }
        let name = Name::from_text(&literal);
        let skip = usize::from(hosts.shared.contains(name.host()));
        let take = name.depth() - usize::from(set.is_literal());
        for key in key_prefixes(name.key()).take(take).skip(skip) {
            spelled.entry(key.to_owned()).or_insert_with(|| set.where_().clone());
        }
    }
    spelled
}
