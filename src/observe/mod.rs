//! What an operator sees: logs, metrics and the audit trail.

pub mod audit;
pub mod logs;
pub mod metrics;
