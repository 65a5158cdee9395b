//! What the service manager is told (`sd_notify`): nothing, and at no cost, where none asks for it by `NOTIFY_SOCKET`.

use sd_notify::NotifyState;

/// The listeners are open and everything is answered.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// What it waits for before it is ready.
pub(super) fn waiting(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Requests are drained.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
