//! Watches one mirror until a verdict, the end of the time, or too many broken connections.

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::{Stream, StreamExt as _};
use kube::core::DynamicObject;
use kube::runtime::watcher;
use tokio::time::{Instant, timeout_at};

use super::cluster::{Cluster, read};
use super::error::{Error, may_pass};
use super::verdict::Verdict;
use super::{EXIT_FAILED, EXIT_TIME_OVER, arguments};
use crate::api::ImageMirror;
use crate::cli::output::{self, harmless};

/// Times that a watch is begun again at once, before the API server is taken to be gone.
const MAX_RECONNECTS: usize = 6;
/// A watch that held this long was no attempt that failed.
const CALM: Duration = Duration::from_secs(30);

/// How long to wait.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct TimeoutArguments {
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = arguments::duration)]
    pub(super) timeout: Duration,
}

/// Watches the mirror `name` and tells every change of what is waited for, until `judge` knows the end.
pub(super) async fn follow(
    cluster: &Cluster,
    name: &str,
    timeout: Duration,
    judge: impl Fn(Option<&ImageMirror>) -> Verdict,
) -> anyhow::Result<ExitCode> {
    let full_name = cluster.full_name(name);
    let end = Instant::now() + timeout;
    let mut said = String::new();
    let mut watch = pin!(cluster.watch(name));
    let mut reconnects = Reconnects::default();
    loop {
        let Ok(seen) = timeout_at(end, next(&mut watch, &mut reconnects)).await else {
            let last = if said.is_empty() {
                "nothing was seen"
            } else {
                &said
            };
            output::tell(format!(
                "{full_name}: the {} s are over: {last}",
                timeout.as_secs()
            ));
            return Ok(ExitCode::from(EXIT_TIME_OVER));
        };
        let object = seen.map_err(|error| Error::of_watch(&error, &full_name))?;
        let mirror = object.map(read).transpose()?;
        match judge(mirror.as_ref()) {
            Verdict::Done(text) => {
                output::tell(format!("{full_name}: {}", harmless(&text)));
                return Ok(ExitCode::SUCCESS);
            }
            Verdict::Failed(text) => {
                output::tell(format!("{full_name} failed: {}", harmless(&text)));
                return Ok(ExitCode::from(EXIT_FAILED));
            }
            Verdict::Hopeless(text) => {
                anyhow::bail!("waiting for {full_name} is of no use: {text}")
            }
            Verdict::Waiting(text) => {
                let text = harmless(&text);
                if text != said {
                    output::tell(format!("waiting for {full_name}: {text}"));
                    said = text;
                }
            }
        }
    }
}

/// The next state of the object. A broken watch is begun again after a pause, a few times.
async fn next<S>(
    watch: &mut S,
    reconnects: &mut Reconnects,
) -> watcher::Result<Option<DynamicObject>>
where
    S: Stream<Item = watcher::Result<Option<DynamicObject>>> + Unpin,
{
    loop {
        match watch.next().await {
            Some(Ok(object)) => return Ok(object),
            Some(Err(error)) => match reconnects.pause(may_pass(&error), Instant::now()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            },
            // A watcher has no end.
            None => return Ok(None),
        }
    }
}

/// How often a watch broke lately.
#[derive(Debug, Default)]
struct Reconnects {
    pauses: Option<backon::ExponentialBackoff>,
    last: Option<Instant>,
}

impl Reconnects {
    /// How long to wait before the watch is begun again; [`None`] when it is not.
    fn pause(&mut self, may_pass: bool, now: Instant) -> Option<Duration> {
        if !may_pass {
            return None;
        }
        let is_calm = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) > CALM);
        self.last = Some(now);
        if is_calm {
            self.pauses = None;
        }
        self.pauses
            .get_or_insert_with(|| {
                ExponentialBuilder::default()
                    .with_min_delay(Duration::from_millis(250))
                    .with_max_delay(Duration::from_secs(8))
                    .with_max_times(MAX_RECONNECTS)
                    .build()
            })
            .next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_watches_are_begun_again_a_few_times_in_a_row() {
        let mut reconnects = Reconnects::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        while let Some(pause) = reconnects.pause(true, now) {
            now += pause;
            pauses.push(pause);
        }
        assert_eq!(pauses.len(), MAX_RECONNECTS);
        assert!(pauses.is_sorted());
        now += CALM + Duration::from_secs(1);
        assert_eq!(reconnects.pause(true, now), pauses.first().copied());
    }

    #[test]
    fn one_that_breaks_now_and_then_is_begun_again_for_ever() {
        let mut reconnects = Reconnects::default();
        let mut now = Instant::now();
        for _ in 0..10 * MAX_RECONNECTS {
            assert!(reconnects.pause(true, now).is_some());
            now += Duration::from_mins(1);
        }
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again() {
        assert_eq!(Reconnects::default().pause(false, Instant::now()), None);
    }
}
