//! Whether a hop that was left alone is back. Its base is asked, which names no module: what is asked for most may be the very thing
//! that fails.

use std::time::Instant;

use super::ask::Ask;
use super::breaker::Admitted;
use super::target::base_of;
use super::{Broken, Step, Target, Trust, Upstream, UpstreamError, failed};
use crate::config::Hop;
use crate::observe::metrics::UpstreamOutcome;

impl Upstream {
    /// Leave to ask a hop for this. One that is down and due to be tried is tried first: any answer of its base lets a few through.
    /// That takes its time, in which the path may become private: it is permitted anew.
    ///
    /// # Errors
    ///
    /// `Down` where it is left alone, or did not answer; `Denied` where the path may not leave any more.
    pub(super) async fn admitted(&self, hop: &Hop, target: Target<'_>, principal: &str) -> Result<Ask, UpstreamError> {
        let side = self.side(target.role());
        let pass = match self.breakers.of(&hop.url, side.role).admit(target.path())? {
            Admitted::Asks(pass) => pass,
            Admitted::Tries(trial) => {
                // Outlives the trial, however that ends.
                let _told = side.told();
                side.tell();
                match self.probe(hop, target).await {
                    Ok(()) => {
                        let pass = trial.answered(target.path());
                        self.permit(target, principal).await?;
                        pass
                    }
                    Err(error) => return Err(trial.failed(error.to_string()).into()),
                }
            }
        };
        Ok(Ask::begin(pass, side.clone()))
    }

    async fn probe(&self, hop: &Hop, target: Target<'_>) -> Result<(), UpstreamError> {
        let url = base_of(hop).ok_or_else(|| failed(&hop.url, "its URL cannot be a base"))?;
        let step = Step { url: &url, sender: &url, trust: Trust::Configured, authorization: self.credentials.of(&url) };
        let begun = Instant::now();
        let answered = match self.send(step).await {
            // A kept connection, closed by the other side meanwhile.
            Err(Broken::BeforeAnswer(_)) => self.send(step).await,
            first => first,
        };
        let answered = answered.map(drop).map_err(Broken::into_error);
        let metrics = &self.side(target.role()).metrics;
        metrics.asked(target.role(), begun.elapsed());
        if let Some(outcome) = answered.as_ref().map_or_else(UpstreamError::outcome, |()| Some(UpstreamOutcome::Probe)) {
            metrics.came_to(target.role(), outcome);
        }
        answered
    }
}
