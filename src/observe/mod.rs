//! What an operator sees: logs, metrics and the audit trail.

pub mod audit;
pub mod logs;
pub mod metrics;

use std::error::Error;

use tokio::task::JoinHandle;
use tracing::Span;

/// Runs something that blocks, beside the async threads: what it logs tells the request that it is done for.
#[expect(clippy::disallowed_methods, reason = "this is what the others are to use")]
pub fn spawn_blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let span = Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(run))
}

/// An error and what caused it, outermost first: `a: b: c`. A cause that its effect already tells is not told twice.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut told = text.clone();
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let cause = cause.to_string();
        if !told.ends_with(&cause) {
            text += ": ";
            text += &cause;
        }
        told = cause;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    fn link(texts: &[&'static str]) -> Option<Box<Link>> {
        let (text, rest) = texts.split_first()?;
        Some(Box::new(Link { text, source: link(rest) }))
    }

    #[test]
    fn each_cause_is_told_once() {
        for (texts, told) in
            [(&["a", "b", "c"][..], "a: b: c"), (&["a: b", "b", "c"], "a: b: c"), (&["a: b: c", "b: c", "c"], "a: b: c"), (&["a"], "a")]
        {
            assert_eq!(chain(&*link(texts).unwrap()), told);
        }
    }
}
