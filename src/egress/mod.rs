//! What may leave (the product's first promise: nothing private does).
//!
//! [`Policy`] judges a module path by an ordered list of rules, see [`Rule`]; the first that speaks decides. [`Gate`] holds the
//! policy in force and alone makes a [`PublicPath`], which is what the way upstream takes: without one nothing is sent. Names are compared
//! without regard to case, since hosts that ignore case would leak the twin.

mod explain;
mod names;
mod patterns;
mod permit;
mod policy;
mod publish;
mod rule;
#[cfg(test)]
mod tests;
mod tree;

pub use explain::{ExplainedClass, Explanation, Reader, SignIn, miss_text, no_sumdb};
pub use permit::{Denied, Gate, PublicPath};
pub use policy::Policy;
pub use publish::{Opening, Shadow};
pub use rule::{Class, Opened, Place, Rule, Verdict, Where};
