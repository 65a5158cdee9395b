//! What a principal may do, at public modules and at each owner.

use super::Access;
use super::principal::{Principal, Who, holds, reaches};
use crate::config::Visibility;
use crate::module::OwnerName;
use crate::store::Scope;

/// What an act at an owner comes to, before anything is looked up: it depends on the owner's settings and the caller alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseAccess {
    /// Go on. An admin gets this at an owner that is not in the settings too, whose modules may be there still.
    Open,
    /// 401: credentials may help. What anonymous callers get at owners that they may not see, existing or not.
    SignIn,
    /// 404: as if there were no such owner.
    Hidden,
    /// 403: seen, but without the right.
    Forbidden,
}

impl Access {
    /// Whether they may read public modules, those of the upstream.
    pub fn may_read_public(&self, who: &Principal) -> bool {
        match &who.who {
            Who::Anonymous => self.anonymous_read,
            Who::User { .. } => true,
            Who::Token(token) => holds(token, Scope::Read),
        }
    }

    /// Whether they may read this owner's modules. Of an owner that is not in the settings: admins only.
    pub fn may_read(&self, who: &Principal, owner: &OwnerName) -> bool {
        self.sees(who, owner) && self.may_read_public(who)
    }

    /// Whether they may publish here. Nobody may at an owner that is not in the settings.
    pub fn may_publish(&self, who: &Principal, owner: &OwnerName) -> bool {
        self.owners.contains_key(owner) && self.may_write(who, owner, Scope::Publish)
    }

    /// Whether they may delete here. At an owner that is not in the settings: admins only.
    pub fn may_delete(&self, who: &Principal, owner: &OwnerName) -> bool {
        self.may_write(who, owner, Scope::Delete)
    }

    /// An owner's visibility; `None` if it is not in the settings.
    pub fn owner_visibility(&self, owner: &OwnerName) -> Option<Visibility> {
        self.owners.get(owner).map(|owner| owner.visibility)
    }

    /// Reading at an owner's base or its API.
    ///
    /// HEAD of a base asks less: 401 where this is [`BaseAccess::SignIn`], else 200 at any owner's name alike.
    pub fn base(&self, who: &Principal, owner: &OwnerName) -> BaseAccess {
        if self.may_read(who, owner) {
            BaseAccess::Open
        } else if who.is_anonymous() {
            BaseAccess::SignIn
        } else if self.sees(who, owner) {
            BaseAccess::Forbidden
        } else {
            BaseAccess::Hidden
        }
    }

    /// Publishing: any owner's name answers alike to those without the right, existing or not.
    pub fn publish(&self, who: &Principal, owner: &OwnerName) -> BaseAccess {
        if self.may_publish(who, owner) {
            BaseAccess::Open
        } else if who.is_anonymous() {
            BaseAccess::SignIn
        } else {
            BaseAccess::Forbidden
        }
    }

    /// Deleting: hidden where reading is, forbidden where it is seen.
    pub fn delete(&self, who: &Principal, owner: &OwnerName) -> BaseAccess {
        if self.may_delete(who, owner) {
            return BaseAccess::Open;
        }
        match self.base(who, owner) {
            BaseAccess::Open if who.is_anonymous() => BaseAccess::SignIn,
            BaseAccess::Open => BaseAccess::Forbidden,
            refused => refused,
        }
    }

    /// Whether the owner's being there is no secret to them.
    fn sees(&self, who: &Principal, owner: &OwnerName) -> bool {
        if who.is_admin() {
            return true;
        }
        let Some(settings) = self.owners.get(owner) else { return false };
        match (settings.visibility, &who.who) {
            (Visibility::Public, _) => true,
            (_, Who::Anonymous) => false,
            (_, Who::Token(token)) => reaches(token, owner),
            (Visibility::Internal, Who::User { .. }) => true,
            (Visibility::Private, Who::User { name, .. }) => settings.members.contains(name),
        }
    }

    /// Whether they may do to this owner's modules what members do.
    fn may_write(&self, who: &Principal, owner: &OwnerName, scope: Scope) -> bool {
        if who.is_admin() {
            return true;
        }
        let Some(settings) = self.owners.get(owner) else { return false };
        match &who.who {
            Who::Anonymous => false,
            Who::User { name, .. } => settings.members.contains(name),
            Who::Token(token) => holds(token, scope) && reaches(token, owner),
        }
    }
}
