//! Leader election by a Lease, with compare-and-swap.
//!
//! The rules are those of client-go: the holder renews; a candidate takes the Lease when the record
//! has not changed for its whole duration *by the candidate's own monotonic clock*, so that clocks of
//! different nodes are never compared; every write carries the `resourceVersion` that was read, so
//! that of two candidates one gets a conflict. A holder that cannot renew stops leading before anyone
//! else may take over.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::request::{RequestError, request};
use crate::api::FIELD_MANAGER;

/// The three times of the election.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// How long a record that does not change keeps others from leading.
    pub(crate) lease_duration: Duration,
    /// How long after its last renewal a leader stops leading; shorter than the duration.
    pub(crate) renew_deadline: Duration,
    /// The pause between attempts to take or renew.
    pub(crate) retry_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// One replica that wants to lead.
pub(crate) struct Candidate {
    pub(crate) api: Api<Lease>,
    pub(crate) lease_name: String,
    pub(crate) identity: String,
    pub(crate) timing: Timing,
}

/// Leadership has ended without our will.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeadershipLost {
    /// The Lease could not be renewed in time.
    #[error("the Lease could not be renewed in time")]
    Deadline,
    /// Another replica holds the Lease.
    #[error("another replica holds the Lease")]
    Taken,
}

/// The record as it was last seen, and since when it has been the same.
#[derive(Clone, Debug)]
struct Observation {
    record: Option<LeaseSpec>,
    since: Instant,
}

impl Observation {
    fn update(&mut self, record: Option<&LeaseSpec>, now: Instant) {
        if self.record.as_ref() != record {
            self.record = record.cloned();
            self.since = now;
        }
    }
}

/// What a candidate may do with the Lease that it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// It is free, ours or expired.
    Allowed,
    /// Somebody else holds it.
    Forbidden,
}

/// Whether `identity` may take the Lease.
fn claim(identity: &str, observation: &Observation, fallback: Duration, now: Instant) -> Claim {
    let Some(record) = &observation.record else {
        return Claim::Allowed;
    };
    let holder = record.holder_identity.as_deref().unwrap_or_default();
    if holder.is_empty() || holder == identity {
        return Claim::Allowed;
    }
    let duration = record
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(fallback, Duration::from_secs);
    if now.duration_since(observation.since) >= duration {
        Claim::Allowed
    } else {
        Claim::Forbidden
    }
}

/// The record that `identity` writes over `before`.
fn next_record(
    identity: &str,
    before: Option<&LeaseSpec>,
    duration: Duration,
    now: Timestamp,
) -> LeaseSpec {
    let is_ours = before.is_some_and(|record| record.holder_identity.as_deref() == Some(identity));
    let transitions = before
        .and_then(|record| record.lease_transitions)
        .unwrap_or_default();
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
        acquire_time: before
            .filter(|_| is_ours)
            .and_then(|record| record.acquire_time.clone())
            .or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if is_ours || before.is_none() {
            transitions
        } else {
            transitions.saturating_add(1)
        }),
        ..LeaseSpec::default()
    }
}

impl Candidate {
    /// Waits until this replica leads, runs `work` as long as it leads, and gives
    /// the Lease back when `work` has ended.
    ///
    /// When leadership is lost `work` is dropped at once; the process should end then, so that
    /// nothing of it can act any more. Without leadership at `cancel`, `work` never runs.
    pub(crate) async fn run_while_leading<T>(
        &self,
        cancel: &CancellationToken,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>, LeadershipLost> {
        let renewed = tokio::select! {
            renewed = self.acquire() => renewed,
            () = cancel.cancelled() => return Ok(None),
        };
        tracing::info!(identity = self.identity, "leading");
        let result = tokio::select! {
            result = work => Ok(Some(result)),
            lost = self.keep(renewed) => Err(lost),
        };
        if result.is_ok() {
            self.release().await;
        }
        result
    }

    /// Returns when the Lease is ours; the moment is that before the request that took it.
    async fn acquire(&self) -> Instant {
        let mut observation = Observation {
            record: None,
            since: Instant::now(),
        };
        loop {
            let attempted = Instant::now();
            match self.try_acquire(&mut observation).await {
                Ok(true) => return attempted,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "cannot take the Lease"),
            }
            tokio::time::sleep(self.timing.retry_period).await;
        }
    }

    /// Whether the Lease is ours now.
    async fn try_acquire(&self, observation: &mut Observation) -> Result<bool, RequestError> {
        let lease = request(self.api.get_opt(&self.lease_name)).await?;
        let record = lease.as_ref().and_then(|lease| lease.spec.as_ref());
        let now = Instant::now();
        observation.update(record, now);
        if claim(&self.identity, observation, self.timing.lease_duration, now) == Claim::Forbidden {
            return Ok(false);
        }
        let record = next_record(
            &self.identity,
            record,
            self.timing.lease_duration,
            Timestamp::now(),
        );
        let written = match lease {
            Some(lease) => self.replace(lease.metadata, record).await,
            None => {
                request(self.api.create(
                    &post(),
                    &Lease {
                        metadata: self.new_metadata(),
                        spec: Some(record),
                    },
                ))
                .await
            }
        };
        match written {
            Ok(_) => Ok(true),
            // Another candidate was faster.
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Renews until that is no longer possible.
    async fn keep(&self, mut renewed: Instant) -> LeadershipLost {
        loop {
            tokio::time::sleep(self.timing.retry_period).await;
            let attempted = Instant::now();
            let deadline = renewed + self.timing.renew_deadline;
            match tokio::time::timeout_at(deadline, self.renew()).await {
                Ok(Ok(true)) => renewed = attempted,
                Ok(Ok(false)) => return LeadershipLost::Taken,
                Ok(Err(error)) => tracing::warn!(%error, "cannot renew the Lease"),
                Err(_elapsed) => return LeadershipLost::Deadline,
            }
        }
    }

    /// Whether the Lease was still ours.
    async fn renew(&self) -> Result<bool, RequestError> {
        let lease = request(self.api.get(&self.lease_name)).await?;
        if !self.holds(&lease) {
            return Ok(false);
        }
        let record = next_record(
            &self.identity,
            lease.spec.as_ref(),
            self.timing.lease_duration,
            Timestamp::now(),
        );
        // After a conflict the next attempt sees who holds it.
        self.replace(lease.metadata, record).await.map(|_| true)
    }

    /// Gives the Lease back, so that a standby need not wait for it to expire.
    async fn release(&self) {
        let released = async {
            let lease = request(self.api.get(&self.lease_name)).await?;
            if self.holds(&lease) {
                let record = LeaseSpec {
                    holder_identity: None,
                    ..lease.spec.unwrap_or_default()
                };
                self.replace(lease.metadata, record).await?;
            }
            Ok::<_, RequestError>(())
        };
        if let Err(error) = released.await {
            tracing::warn!(%error, "cannot give the Lease back; it expires by itself");
        }
    }

    fn holds(&self, lease: &Lease) -> bool {
        lease
            .spec
            .as_ref()
            .is_some_and(|record| record.holder_identity.as_deref() == Some(&self.identity))
    }

    /// Writes a record over the version of the Lease that was read, which `metadata` names.
    async fn replace(
        &self,
        metadata: ObjectMeta,
        record: LeaseSpec,
    ) -> Result<Lease, RequestError> {
        let lease = Lease {
            metadata,
            spec: Some(record),
        };
        request(self.api.replace(&self.lease_name, &post(), &lease)).await
    }

    fn new_metadata(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.lease_name.clone()),
            ..ObjectMeta::default()
        }
    }
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: Option<&str>, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(transitions),
            renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            ..LeaseSpec::default()
        }
    }

    fn observed(record: Option<LeaseSpec>) -> Observation {
        Observation {
            record,
            since: Instant::now(),
        }
    }

    const NEVER: Duration = Duration::from_hours(1);

    #[test]
    fn a_free_lease_may_be_taken_at_once() {
        let now = Instant::now();
        assert_eq!(claim("me", &observed(None), NEVER, now), Claim::Allowed);
        assert_eq!(
            claim("me", &observed(Some(record(None, 1))), NEVER, now),
            Claim::Allowed
        );
        assert_eq!(
            claim("me", &observed(Some(record(Some(""), 1))), NEVER, now),
            Claim::Allowed
        );
        assert_eq!(
            claim("me", &observed(Some(record(Some("me"), 1))), NEVER, now),
            Claim::Allowed
        );
    }

    #[test]
    fn a_held_lease_may_be_taken_when_it_has_not_changed_for_its_duration() {
        let observation = observed(Some(record(Some("other"), 1)));
        let later = |seconds| observation.since + Duration::from_secs(seconds);
        assert_eq!(
            claim("me", &observation, NEVER, later(14)),
            Claim::Forbidden
        );
        assert_eq!(claim("me", &observation, NEVER, later(15)), Claim::Allowed);
    }

    #[test]
    fn a_renewal_restarts_the_clock_whatever_time_it_carries() {
        let mut observation = observed(Some(record(Some("other"), 1)));
        let start = observation.since;
        let mut renewed = record(Some("other"), 1);
        renewed.renew_time = Some(MicroTime(Timestamp::from_second(-1).unwrap()));
        observation.update(Some(&renewed), start + Duration::from_secs(10));
        assert_eq!(
            claim("me", &observation, NEVER, start + Duration::from_secs(20)),
            Claim::Forbidden
        );
        observation.update(Some(&renewed), start + Duration::from_secs(20));
        assert_eq!(
            claim("me", &observation, NEVER, start + Duration::from_secs(25)),
            Claim::Allowed
        );
    }

    #[test]
    fn a_takeover_counts_as_a_transition_and_a_renewal_does_not() {
        let now = Timestamp::from_second(100).unwrap();
        let taken = next_record(
            "me",
            Some(&record(Some("other"), 4)),
            Duration::from_secs(15),
            now,
        );
        assert_eq!(
            (taken.lease_transitions, taken.acquire_time),
            (Some(5), Some(MicroTime(now)))
        );
        let mut ours = record(Some("me"), 5);
        ours.acquire_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
        let renewed = next_record("me", Some(&ours), Duration::from_secs(15), now);
        assert_eq!(renewed.lease_transitions, Some(5));
        assert_eq!(renewed.acquire_time, Some(MicroTime(Timestamp::UNIX_EPOCH)));
        assert_eq!(renewed.renew_time, Some(MicroTime(now)));
    }
}
