//! Ends an attempt: reads what its pod left, asks the registry, and writes down what became of the build.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;

use super::observation::{self, Ending, Stage};
use super::outcome::{Failed, failure, naming_secret, retry_pause};
use super::secrets::SecretValues;
use super::status::{end_build, took};
use super::wanted::{Wanted, builder_type};
use super::{Error, NEXT_STEP, Reconciler, inputs, registry};
use crate::api::{BaseImage, BuildResult, ImageBuildStatus, has_ended};
use crate::build::{BuildFailure, FailureClass, Published};
use crate::controller::events::Severity;
use crate::controller::request::RequestError;
use crate::reason::Reason;

/// Lines of a log that the status shows, and most bytes of them.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: usize = 4096;

impl Reconciler<'_> {
    /// Reads how the pods of an attempt ended. If one has failed, nobody waits for the others.
    pub(super) async fn collect(&self, pods: &[&Pod]) -> Result<Action, Error> {
        let mut images = Vec::new();
        for pod in pods.iter().filter(|pod| has_ended(pod)) {
            match observation::ending(pod) {
                Ending::Published(published) => images.push(published),
                ending => return self.collect_failure(pods, pod, &ending).await,
            }
        }
        match Box::pin(self.succeed(pods, &images)).await? {
            Ok(action) => Ok(action),
            Err(failure) => self.fail(Failed::new(failure), None).await,
        }
    }

    /// The pods say that they pushed their images: whether that is so the registry says.
    async fn succeed(
        &self,
        pods: &[&Pod],
        images: &[Published],
    ) -> Result<Result<Action, BuildFailure>, Error> {
        let previous = self.previous();
        let wanted = match Wanted::new(&self.object.spec) {
            Ok(wanted) => wanted,
            Err(error) => return self.refuse(&previous, &error).await.map(Ok),
        };
        let source = previous.source.clone().unwrap_or_default();
        let number = previous.build.as_ref().map_or(0, |build| build.number);
        let tags = match self.tags(&source, number) {
            Ok(tags) => tags,
            Err(error) => return self.refuse(&previous, &error).await.map(Ok),
        };
        let registries = self.registries(&wanted).await?;
        let annotations = &self.object.spec.output.annotations;
        let image = registry::finish(&registries, &wanted, annotations, &tags, images).await;
        let image = match image {
            Ok(image) => image,
            Err(failure) => return Ok(Err(failure)),
        };
        // Every pod has fetched the same.
        let fetched = pods.first().and_then(|pod| observation::fetched(pod));
        let fetched = fetched.unwrap_or_default();
        let base_images = if fetched.mirrored.is_empty() {
            let names = fetched.base_images.iter().map(String::as_str);
            registry::base_images(&registries, &self.pull_access(), names, &[]).await
        } else {
            let mirrored = fetched.mirrored.iter().map(|(from, digest)| BaseImage {
                from: from.clone(),
                digest: digest.to_string(),
            });
            mirrored.collect()
        };
        let attested = self.attest(pods, &wanted, &registries, &base_images, image);
        let image = match Box::pin(attested).await? {
            Ok(image) => image,
            Err(failure) => return Ok(Err(failure)),
        };
        let hash = inputs::of(&self.spec_inputs, &source, &base_images);
        let mut status = ImageBuildStatus {
            inputs_hash: Some(hash.to_string()),
            base_images,
            image: Some(image),
            ..previous
        };
        let limits = &self.object.spec.history;
        end_build(&mut status, BuildResult::Succeeded, None, limits, self.now);
        let input = self.input(&status);
        let status = input.nothing_handled(input.ready());
        self.write_end(&status, BuildResult::Succeeded, None)
            .await?;
        let image = status.image.as_ref();
        let message = format!(
            "build {number}: {} is in the registry",
            image.map_or("", |image| &image.reference)
        );
        self.tell(Severity::Normal, Reason::Succeeded, message)
            .await;
        self.remove_old(&status).await?;
        Ok(Ok(Action::requeue(NEXT_STEP)))
    }

    async fn collect_failure(
        &self,
        pods: &[&Pod],
        pod: &Pod,
        ending: &Ending,
    ) -> Result<Action, Error> {
        let stage = match ending {
            Ending::StageFailed(stage, _) | Ending::ContainerFailed { stage, .. } => Some(*stage),
            Ending::Published(_) | Ending::PodFailed { .. } => None,
        };
        // Before anything is cut off, which may leave a part of a value.
        let values = SecretValues::read(&self.secrets, &self.object).await?;
        let log = match stage {
            Some(stage) => values.scrub(self.attempts.log(pod, stage).await),
            None => String::new(),
        };
        let builder = builder_type(self.object.spec.builder.builder_type);
        let Some(mut failed) = failure(ending, builder, &log) else {
            return Ok(Action::requeue(NEXT_STEP));
        };
        // What a builder says is not believed: a step can say it as well, and have everybody built with less.
        if stage == Some(Stage::Fetch)
            && failed.failure.reason == Reason::UserNamespaceRefused
            && self.falls_back()
        {
            return self.fall_back(pods).await;
        }
        if let Ok(wanted) = Wanted::new(&self.object.spec) {
            failed.failure = naming_secret(failed.failure, stage, &wanted);
        }
        failed.failure.message = values.scrub(failed.failure.message);
        failed.failure.message = observation::of_platform(pods, pod, failed.failure.message);
        // What has ended stays for those who want to read its log.
        let others: Vec<_> = pods.iter().copied().filter(|pod| !has_ended(pod)).collect();
        self.attempts.remove_all(&others, &self.uid).await?;
        // Ours say everything in their report.
        let tail = matches!(stage, Some(Stage::Build | Stage::Scan)).then(|| tail(&log));
        self.fail(failed, tail.filter(|tail| !tail.is_empty()))
            .await
    }

    /// The build has failed; it is tried again if that may help.
    pub(super) async fn fail(
        &self,
        failed: Failed,
        log_tail: Option<String>,
    ) -> Result<Action, Error> {
        let previous = self.previous();
        let build = previous.build.clone().unwrap_or_default();
        let shown = failed.status(build.number, log_tail);
        let failure = &failed.failure;
        let pause = retry_pause(failure, build.attempt, self.object.spec.retry.limit);
        let input = self.input(&previous);
        let mut status = input.nothing_handled(input.failed(failure, pause.is_some()));
        let message = format!("build {}: {}", build.number, failure.message);
        if let Some(pause) = pause {
            status.last_failure = Some(shown);
            if let Some(build) = &mut status.build {
                build.retry_time = Some(Time(self.later(pause)));
            }
            self.write(&status).await?;
            self.context.metrics.builds.retried(failure.class);
            self.tell(Severity::Warning, failure.reason, message).await;
            return Ok(Action::requeue(pause));
        }
        let limits = &self.object.spec.history;
        end_build(
            &mut status,
            BuildResult::Failed,
            Some(shown),
            limits,
            self.now,
        );
        self.write_end(&status, BuildResult::Failed, Some(failure.class))
            .await?;
        self.tell(Severity::Warning, failure.reason, message).await;
        self.remove_old(&status).await?;
        Ok(Action::requeue(NEXT_STEP))
    }

    /// Writes down that the build has ended, and counts it: not before, as what is not written down is found to end
    /// again.
    async fn write_end(
        &self,
        status: &ImageBuildStatus,
        result: BuildResult,
        class: Option<FailureClass>,
    ) -> Result<(), RequestError> {
        self.write(status).await?;
        let taken = status.build.as_ref().and_then(took);
        self.context.metrics.builds.ended(result, class, taken);
        Ok(())
    }

    /// A pod is gone, and nobody has read how it ended. `pods` are those that are left.
    pub(super) async fn lose(&self, pods: &[&Pod]) -> Result<Action, Error> {
        self.attempts.remove_all(pods, &self.uid).await?;
        let failure = BuildFailure {
            class: FailureClass::Infrastructure,
            reason: Reason::PodLost,
            message: "the pod of the build is gone: it was deleted, or its node was".to_owned(),
        };
        self.fail(Failed::new(failure), None).await
    }

    /// Stops the build that goes on.
    pub(super) async fn cancel(&self, pods: &[&Pod], asked: bool) -> Result<Action, Error> {
        self.attempts.remove_all(pods, &self.uid).await?;
        let previous = self.previous();
        let number = previous.build.as_ref().map_or(0, |build| build.number);
        let message = if asked {
            format!("build {number} was stopped, as somebody asked for that")
        } else {
            format!("build {number} was stopped, as the spec was changed")
        };
        let failure = BuildFailure {
            class: FailureClass::Source,
            reason: Reason::Cancelled,
            message,
        };
        let input = self.input(&previous);
        let mut status = input.failed(&failure, !asked);
        if !asked {
            // The new spec is looked at next.
            status = input.nothing_handled(status);
        }
        let limits = &self.object.spec.history;
        end_build(&mut status, BuildResult::Cancelled, None, limits, self.now);
        self.write_end(&status, BuildResult::Cancelled, None)
            .await?;
        self.tell(Severity::Normal, failure.reason, failure.message)
            .await;
        Ok(Action::requeue(NEXT_STEP))
    }

    /// Removes the pods of builds that the history has forgotten.
    async fn remove_old(&self, status: &ImageBuildStatus) -> Result<(), Error> {
        let current = status.build.as_ref().map(|build| build.number);
        let is_kept = |number: i64| {
            current == Some(number) || status.history.iter().any(|record| record.number == number)
        };
        let pods = self.attempts.of_object(&self.uid).await?;
        let forgotten: Vec<_> = pods
            .iter()
            .filter(|pod| observation::order(pod).is_some_and(|(number, _)| !is_kept(number)))
            .collect();
        Ok(self.attempts.remove_all(&forgotten, &self.uid).await?)
    }
}

/// The last lines of a log, not more than the status has room for.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    let text = lines.get(first..).unwrap_or_default().join("\n");
    let mut begin = text.len().saturating_sub(TAIL_BYTES);
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    text.get(begin..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_end() {
        let lines: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
        let tail = tail(&lines.join("\n"));
        assert!(
            tail.starts_with("line 80\n") && tail.ends_with("line 99"),
            "{tail}"
        );
        assert!(super::tail(&"é".repeat(9000)).len() <= TAIL_BYTES);
    }
}
