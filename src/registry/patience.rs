//! How long to wait for a registry and how often to ask again.
//!
//! The decision is a pure function of the failure; the clock and the sleeping are the caller's.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::error::Problem;

const RATELIMIT_RESET: &str = "ratelimit-reset";
/// From here on a number is a moment in Unix time (2001) and no wait in seconds.
const LEAST_MOMENT: i64 = 1_000_000_000;

/// Limits on time and attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For name resolution, TCP and TLS together.
    pub connect: Duration,
    /// Without a single byte of progress, in either direction.
    pub idle: Duration,
    /// Between the last byte of an upload and the answer; registries hash and move the content then.
    pub commit: Duration,
    /// Attempts per request, the first included.
    pub attempts: usize,
    /// The wait before the second attempt; it doubles from there, up to [`Self::longest_wait`].
    pub first_wait: Duration,
    /// The longest wait before an attempt. A registry that asks for more gets no further attempt,
    /// and the error says how long it asked for.
    pub longest_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            commit: Duration::from_mins(5),
            attempts: 5,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_mins(1),
        }
    }
}

impl Patience {
    /// The waits of one request, with jitter so that many clients do not come back together.
    pub(super) fn waits(&self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(self.first_wait)
            .with_max_delay(self.longest_wait)
            .with_max_times(self.attempts.saturating_sub(1))
            .with_jitter()
            .build()
    }

    /// How long to wait before the next attempt, or [`None`] to give up.
    ///
    /// `planned` is the next of [`Self::waits`], [`None`] when the attempts are used up.
    pub(super) fn wait(&self, problem: &Problem, planned: Option<Duration>) -> Option<Duration> {
        let planned = planned.filter(|_| problem.is_transient())?;
        let asked = match problem {
            Problem::RateLimited { retry_after } | Problem::Unavailable { retry_after, .. } => {
                retry_after.unwrap_or_default()
            }
            _ => Duration::ZERO,
        };
        (asked <= self.longest_wait).then(|| planned.max(asked))
    }
}

/// The wait that `Retry-After` asks for: seconds or a date (RFC 9110 §10.2.3).
///
/// A date in the past is no wait; a value that is neither counts as absent.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit mean "do not come back".
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    Some(until(date(text)?, now))
}

/// How long a registry that got too many requests wants to be left alone: by `Retry-After`, or by the
/// `RateLimit-Reset` that some send instead (draft-polli-ratelimit-headers, seconds; others write a
/// moment in Unix time).
pub(super) fn wait_after_too_many(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    retry_after(headers, now).or_else(|| {
        let text = headers.get(RATELIMIT_RESET)?.to_str().ok()?.trim();
        let seconds: i64 = text.parse().ok().filter(|seconds| *seconds >= 0)?;
        if seconds < LEAST_MOMENT {
            return Some(Duration::from_secs(seconds.unsigned_abs()));
        }
        Some(until(Timestamp::from_second(seconds).ok()?, now))
    })
}

/// The three forms of a date that HTTP has had (RFC 9110 §5.6.7).
fn date(text: &str) -> Option<Timestamp> {
    let obsolete = |form| {
        let date = jiff::civil::DateTime::strptime(form, text).ok()?;
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()
        .or_else(|| obsolete("%A, %d-%b-%y %H:%M:%S GMT"))
        .or_else(|| obsolete("%a %b %e %H:%M:%S %Y"))
}

/// The past is no wait.
fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use reqwest::header::HeaderValue;
    use rstest::rstest;

    use super::super::failure::{TlsFailure, TransportFailure};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limited(seconds: Option<u64>) -> Problem {
        Problem::RateLimited {
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    #[rstest]
    #[case::no_answer(Problem::Transport(TransportFailure::Timeout), Some(1))]
    #[case::server_error(Problem::Unavailable { status: StatusCode::BAD_GATEWAY, retry_after: None }, Some(1))]
    #[case::asked_to_wait(limited(Some(7)), Some(7))]
    #[case::asked_for_less_than_planned(limited(Some(0)), Some(1))]
    #[case::asked_for_too_long(limited(Some(61)), None)]
    #[case::asked_for_the_longest(limited(Some(60)), Some(60))]
    #[case::not_said_how_long(limited(None), Some(1))]
    #[case::certificate(Problem::Certificate(TlsFailure::Expired), None)]
    #[case::plain_port(Problem::Transport(TransportFailure::NotTls), None)]
    #[case::denied(Problem::Denied { code: None }, None)]
    #[case::missing(Problem::NotFound { code: None }, None)]
    fn what_is_worth_another_attempt(#[case] problem: Problem, #[case] seconds: Option<u64>) {
        let patience = Patience::default();
        assert_eq!(
            patience.wait(&problem, Some(SECOND)),
            seconds.map(Duration::from_secs)
        );
        assert_eq!(patience.wait(&problem, None), None, "attempts used up");
    }

    #[test]
    fn waits_grow_and_end() {
        let patience = Patience::default();
        let waits: Vec<_> = patience.waits().collect();
        assert_eq!(waits.len(), 4);
        assert!(waits.iter().zip(waits.iter().skip(1)).all(|(a, b)| a < b));
        assert!(waits.iter().all(|wait| *wait <= 2 * patience.longest_wait));
    }

    #[rstest]
    #[case("120", Some(120))]
    #[case("0", Some(0))]
    #[case(" 5 ", Some(5))]
    #[case("1000000000", Some(1_000_000_000))]
    #[case("99999999999999999999999", Some(u64::MAX))]
    #[case("Fri, 31 Dec 1999 23:59:59 GMT", Some(59))]
    #[case("Fri, 31 Dec 1999 23:00:00 GMT", Some(0))]
    #[case::rfc_850("Friday, 31-Dec-99 23:59:59 GMT", Some(59))]
    #[case::asctime("Fri Dec 31 23:59:59 1999", Some(59))]
    #[case::asctime_with_one_digit("Sat Jan  1 00:00:00 2000", Some(60))]
    #[case::wrong_day("Mon, 31 Dec 1999 23:59:59 GMT", None)]
    #[case::no_such_day("Fri, 32 Dec 1999 23:59:59 GMT", None)]
    #[case::fraction("1.5", None)]
    #[case("-5", None)]
    #[case("", None)]
    #[case("soon", None)]
    fn retry_after_is_seconds_or_a_date(#[case] value: &'static str, #[case] seconds: Option<u64>) {
        let now: Timestamp = "1999-12-31T23:59:00Z".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs));
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[rstest]
    #[case::seconds(&[("ratelimit-reset", "50")], Some(50))]
    #[case::moment(&[("ratelimit-reset", "1000000030")], Some(30))]
    #[case::past(&[("ratelimit-reset", "1000000000")], Some(0))]
    #[case::retry_after_counts(&[("ratelimit-reset", "50"), ("retry-after", "7")], Some(7))]
    #[case::docker_hub(&[("ratelimit-remaining", "0;w=21600")], None)]
    #[case::nonsense(&[("ratelimit-reset", "-1")], None)]
    fn case_72_the_reset_of_a_limit_is_waited_for(
        #[case] lines: &[(&'static str, &'static str)],
        #[case] seconds: Option<u64>,
    ) {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let wait = wait_after_too_many(&headers, now);
        assert_eq!(wait, seconds.map(Duration::from_secs));
    }
}
