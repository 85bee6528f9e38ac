//! Requests that are held up for good, so that a test can act while they are under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::Registry;
use super::fault::{Action, Rule};
use super::log::Recorded;
use super::route::Endpoint;

/// Longer than any test lasts.
const FOR_GOOD: Duration = Duration::from_hours(1);
/// Far more than it takes: who needs it never comes.
const NEVER: Duration = Duration::from_mins(2);

/// What was held up so far.
pub(crate) struct HeldUp(Arc<Semaphore>);

impl HeldUp {
    /// Returns when `count` more requests have been held up.
    pub(crate) async fn wait_for(&self, count: u32) {
        let come = tokio::time::timeout(NEVER, self.0.acquire_many(count)).await;
        come.expect("the requests never came").unwrap().forget();
    }
}

impl Registry {
    /// Holds up every request to an endpoint for which `which` holds, before its body is read.
    pub(crate) fn hold_up(
        &self,
        endpoint: Endpoint,
        which: impl Fn(&Recorded) -> bool + Send + Sync + 'static,
    ) -> HeldUp {
        let come = Arc::new(Semaphore::new(0));
        let held_up = HeldUp(Arc::clone(&come));
        let rule = Rule::on(endpoint, Action::Delay(FOR_GOOD));
        self.add(rule.when(move |asked| {
            let is_it = which(asked);
            if is_it {
                come.add_permits(1);
            }
            is_it
        }));
        held_up
    }
}
