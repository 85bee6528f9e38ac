//! Which registries have fallen silent during a scan: each request to one of them takes until patience ends, and
//! a scan may have ten thousand to make. Pure.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::copy::Failure;
use crate::oci::RegistryHost;
use crate::reason::Reason;

/// Requests in a row without an answer after which a registry is not asked for anything else. A single repository
/// that gives its registry trouble should not take the others along.
const MAX_UNANSWERED: u32 = 8;

/// What is known of the registries of one scan.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<BTreeMap<RegistryHost, Unanswered>>);

/// Requests that have got no answer since the last one that did.
#[derive(Debug)]
struct Unanswered {
    in_a_row: u32,
    last: Failure,
}

impl Silence {
    /// Why a registry is not asked any more; [`None`] as long as it is.
    pub(super) fn of(&self, registry: &RegistryHost) -> Option<Failure> {
        let known = self.lock();
        let unanswered = known.get(registry)?;
        (unanswered.in_a_row >= MAX_UNANSWERED).then(|| Failure {
            reason: unanswered.last.reason,
            message: format!(
                "not asked for, as others got no answer: {}",
                unanswered.last.message
            ),
        })
    }

    /// Takes note of what became of a request.
    pub(super) fn learn(&self, registry: &RegistryHost, failure: Option<&Failure>) {
        let failure = failure.filter(|failure| failure.reason == Reason::RegistryUnreachable);
        let mut known = self.lock();
        match (failure, known.get_mut(registry)) {
            (None, _) => {
                known.remove(registry);
            }
            (Some(failure), Some(unanswered)) => {
                unanswered.in_a_row += 1;
                unanswered.last = failure.clone();
            }
            (Some(failure), None) => {
                let last = failure.clone();
                known.insert(registry.clone(), Unanswered { in_a_row: 1, last });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RegistryHost, Unanswered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(reason: Reason) -> Failure {
        Failure {
            reason,
            message: "one.test/a:1: no answer".to_owned(),
        }
    }

    #[test]
    fn a_registry_is_silent_after_many_requests_in_a_row_without_an_answer() {
        let silence = Silence::default();
        let registries = ["one.test", "two.test"];
        let [one, two] = registries.map(|host| host.parse::<RegistryHost>().unwrap());
        let unanswered = failure(Reason::RegistryUnreachable);
        for _ in 1..MAX_UNANSWERED {
            silence.learn(&one, Some(&unanswered));
        }
        // A refusal is an answer.
        silence.learn(&one, Some(&failure(Reason::PullDenied)));
        for _ in 0..MAX_UNANSWERED {
            assert_eq!(silence.of(&one), None);
            silence.learn(&one, Some(&unanswered));
        }
        let silent = silence.of(&one).unwrap();
        assert_eq!(silent.reason, Reason::RegistryUnreachable);
        assert_eq!(
            silent.message,
            "not asked for, as others got no answer: one.test/a:1: no answer"
        );
        assert_eq!(silence.of(&two), None);
    }
}
