//! The rules, held against tables, against a slow and plain reading of them, and against the promise that no private path leaves.

mod explanations;
mod invariants;
mod look_ups;
mod permits;
mod tables;
mod world;
