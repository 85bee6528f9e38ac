//! Watches one mirror until a verdict, the end of the time, or too many broken connections.

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::Instant;

use super::cluster::{Cluster, read};
use super::error::{Error, may_pass};
use super::verdict::{End, Verdict};
use super::{EXIT_FAILED, EXIT_TIME_OVER, arguments};
use crate::api::ImageMirror;
use crate::cli::output::{self, harmless};

/// Pauses before a watch that broke is begun again. After the last of them the API server is taken to be
/// gone: a restart takes less.
const PAUSES: [Duration; 8] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(16),
];
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
    let mut said = "nothing was seen".to_owned();
    let waited = tokio::time::timeout(timeout, wait(cluster, name, judge, &mut said)).await;
    let Ok(end) = waited else {
        let seconds = timeout.as_secs();
        output::tell(format!("{full_name}: the {seconds} s are over: {said}"));
        return Ok(ExitCode::from(EXIT_TIME_OVER));
    };
    match end? {
        End::Done(text) => {
            output::tell(format!("{full_name}: {}", harmless(&text)));
            Ok(ExitCode::SUCCESS)
        }
        End::Failed(text) => {
            output::tell(format!("{full_name} failed: {}", harmless(&text)));
            Ok(ExitCode::from(EXIT_FAILED))
        }
        End::Hopeless(text) => anyhow::bail!("waiting for {full_name} is of no use: {text}"),
    }
}

/// Waits for an end. `said` is what was told last.
async fn wait(
    cluster: &Cluster,
    name: &str,
    judge: impl Fn(Option<&ImageMirror>) -> Verdict,
    said: &mut String,
) -> Result<End, Error> {
    let full_name = cluster.full_name(name);
    let mut tell = |text: &str| {
        let text = harmless(text);
        if text != *said {
            output::tell(format!("waiting for {full_name}: {text}"));
            *said = text;
        }
    };
    let mut watch = pin!(cluster.watch(name));
    let mut breaks = Breaks::default();
    loop {
        let object = match watch.next().await {
            Some(Ok(object)) => object,
            Some(Err(error)) => {
                let pause = breaks.pause(may_pass(&error), Instant::now());
                let error = Error::of_watch(&error, &full_name);
                let Some(pause) = pause else {
                    return Err(error);
                };
                // Networks end connections now and then; only what lasts is worth a line.
                if breaks.in_a_row > 1 {
                    tell(&error.to_string());
                }
                tokio::time::sleep(pause).await;
                continue;
            }
            // A watcher has no end.
            None => None,
        };
        match judge(object.map(read).transpose()?.as_ref()) {
            Verdict::Over(end) => return Ok(end),
            Verdict::Waiting(text) => tell(&text),
        }
    }
}

/// How often a watch broke lately.
#[derive(Debug, Default)]
struct Breaks {
    in_a_row: usize,
    last: Option<Instant>,
}

impl Breaks {
    /// How long to wait before the watch is begun again; [`None`] when it is not.
    fn pause(&mut self, may_pass: bool, now: Instant) -> Option<Duration> {
        let is_calm = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) > CALM);
        if is_calm {
            self.in_a_row = 0;
        }
        self.last = Some(now);
        let pause = PAUSES.get(self.in_a_row).copied();
        self.in_a_row += 1;
        pause.filter(|_| may_pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_watch_is_begun_again_a_few_times_in_a_row() {
        let mut breaks = Breaks::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        while let Some(pause) = breaks.pause(true, now) {
            now += pause;
            pauses.push(pause);
        }
        assert_eq!(pauses, PAUSES);
        assert!(PAUSES.iter().all(|pause| *pause < CALM));
        now += CALM + Duration::from_secs(1);
        assert_eq!(breaks.pause(true, now), PAUSES.first().copied());
    }

    #[test]
    fn one_that_breaks_now_and_then_is_begun_again_for_ever() {
        let mut breaks = Breaks::default();
        let mut now = Instant::now();
        for _ in 0..10 * PAUSES.len() {
            assert!(breaks.pause(true, now).is_some());
            now += Duration::from_mins(1);
        }
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again() {
        assert_eq!(Breaks::default().pause(false, Instant::now()), None);
    }
}
