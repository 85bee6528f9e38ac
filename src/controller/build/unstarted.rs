//! Pods that do not start: no node takes them, an image is not to be had, or a node does not know user namespaces.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use super::outcome::Failed;
use super::pod::time_allowed;
use super::{Error, NEXT_STEP, Reconciler, observation};
use crate::api::Isolation;
use crate::build::{BuildFailure, FailureClass};
use crate::controller::events::Severity;
use crate::reason::Reason;

/// How long a pod may be on a node without a sandbox, before that is taken for a node without user namespaces.
const SANDBOX_PATIENCE: Duration = Duration::from_secs(30);

impl Reconciler<'_> {
    /// Ends a build whose pod has waited for longer than a build may take. The kubelet would say that it took too
    /// long and nothing else, and of a pod that no node takes nobody would say anything.
    pub(super) async fn give_up(&self, pods: &[&Pod]) -> Result<Option<Action>, Error> {
        let is_overdue = |pod: &&&Pod| time_left_of(pod, self.now) == Some(Duration::ZERO);
        let Some(pod) = pods.iter().find(is_overdue) else {
            return Ok(None);
        };
        self.attempts.remove_all(pods, &self.uid).await?;
        let message = format!(
            "nothing has run for as long as spec.timeout allows: {}",
            observation::waits_for(pod)
        );
        let failure = BuildFailure {
            class: FailureClass::Timeout,
            reason: Reason::TimedOut,
            message: observation::of_platform(pods, pod, message),
        };
        self.fail(Failed::new(failure), None).await.map(Some)
    }

    /// Leaves the user namespace for good if a node does not start a pod with one.
    pub(super) async fn leave_user_namespace(
        &self,
        pods: &[&Pod],
    ) -> Result<Option<Action>, Error> {
        let is_refused = |pod: &Pod| {
            let has_user_namespace = pod
                .spec
                .as_ref()
                .is_some_and(|spec| spec.host_users == Some(false));
            has_user_namespace
                && age(pod, self.now) >= SANDBOX_PATIENCE
                && observation::has_no_sandbox(pod)
        };
        if !pods.iter().any(|pod| is_refused(pod)) {
            return Ok(None);
        }
        if self.falls_back() {
            return self.fall_back(pods).await.map(Some);
        }
        self.attempts.remove_all(pods, &self.uid).await?;
        let failure = BuildFailure {
            class: FailureClass::Dockerfile,
            reason: Reason::UserNamespaceRefused,
            message: "the node does not start a pod with a user namespace (hostUsers: false): that needs Kubernetes 1.33, \
                      containerd 2.0 or CRI-O 1.25, runc 1.2 or crun 1.9, and Linux 6.3; or set builder.isolation Rootless"
                .to_owned(),
        };
        self.fail(Failed::new(failure), None).await.map(Some)
    }

    /// Whether there is another isolation to try.
    pub(super) fn falls_back(&self) -> bool {
        let builder = self
            .object
            .status
            .as_ref()
            .and_then(|status| status.builder.as_ref());
        self.object.spec.builder.isolation == Isolation::Auto
            && builder.is_some_and(|builder| builder.isolation == Isolation::UserNamespace)
    }

    /// Tries the build at once without a user namespace.
    pub(super) async fn fall_back(&self, pods: &[&Pod]) -> Result<Action, Error> {
        self.context.user_namespaces.refused(self.now);
        self.attempts.remove_all(pods, &self.uid).await?;
        let mut status = self.previous();
        if let Some(build) = &mut status.build {
            build.retry_time = Some(Time(self.now));
        }
        self.write(&status).await?;
        let message = "nodes have no user namespaces for pods; builds go on without".to_owned();
        self.tell(Severity::Normal, Reason::UserNamespaceRefused, message)
            .await;
        Ok(Action::requeue(NEXT_STEP))
    }
}

/// How long pods in which nothing runs may go on waiting, the one that may the least.
pub(super) fn time_left(pods: &[&Pod], now: Timestamp) -> Option<Duration> {
    pods.iter().filter_map(|pod| time_left_of(pod, now)).min()
}

fn time_left_of(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let allowed = time_allowed(pod).filter(|_| observation::is_waiting(pod))?;
    Some(allowed.saturating_sub(age(pod, now)))
}

/// How long ago a pod was made.
fn age(pod: &Pod, now: Timestamp) -> Duration {
    let created = pod.creation_timestamp().map_or(now, |time| time.0);
    Duration::try_from(now.duration_since(created)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const CREATED: &str = "2026-01-01T00:00:00Z";

    /// A pod whose build may take 60 seconds.
    fn pod(status: &Value) -> Pod {
        let pod = json!({
            "metadata": {"name": "app-1", "creationTimestamp": CREATED},
            "spec": {"containers": [], "activeDeadlineSeconds": 65},
            "status": status,
        });
        serde_json::from_value(pod).unwrap()
    }

    fn left(status: &Value, seconds: i64) -> Option<u64> {
        let now = CREATED.parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds);
        time_left(&[&pod(status)], now).map(|left| left.as_secs())
    }

    #[test]
    fn a_pod_waits_for_no_longer_than_its_build_may_take() {
        let unscheduled = json!({"phase": "Pending"});
        assert_eq!(left(&unscheduled, 10), Some(50));
        assert_eq!(left(&unscheduled, 60), Some(0));
        assert_eq!(left(&unscheduled, 600), Some(0));
        let no_image = json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "fetch", "image": "", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"waiting": {"reason": "ImagePullBackOff"}}},
        ]});
        assert_eq!(left(&no_image, 60), Some(0));
    }

    /// The kubelet ends what runs for too long, and its log stays.
    #[test]
    fn what_runs_or_has_ended_does_not_wait() {
        let running = json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "build", "image": "", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"running": {}}},
        ]});
        assert_eq!(left(&running, 600), None);
        assert_eq!(left(&json!({"phase": "Failed"}), 600), None);
    }
}
