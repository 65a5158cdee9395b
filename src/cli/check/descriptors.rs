//! The limit of file descriptors.

use crate::cli::descriptors;
use crate::config::Config;

/// Fewer than all connections may take.
pub(super) fn findings(config: &Config) -> Vec<String> {
    too_few(descriptors::maximum(), config.limits.connections).into_iter().collect()
}

fn too_few(maximum: Option<u64>, connections: usize) -> Option<String> {
    let (maximum, needed) = (maximum?, descriptors::needed(connections));
    (maximum < needed).then(|| {
        format!(
            "limits.connections: {connections} connections and a reserve take at least {needed} file descriptors, and a process started from here \
             may have {maximum}: raise the hard limit (LimitNOFILE= of a unit, ulimit -Hn of a shell)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_for_each_connection_and_the_reserve_is_enough() {
        assert_eq!(too_few(None, 10_000), None);
        assert_eq!(too_few(Some(11_024), 10_000), None);
        let told = too_few(Some(11_023), 10_000).unwrap();
        assert!(told.starts_with("limits.connections: 10000 connections and a reserve take at least 11024 file descriptors"), "{told}");
        assert!(told.contains("may have 11023"), "{told}");
    }
}
