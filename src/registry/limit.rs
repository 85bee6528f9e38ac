//! How much is asked of one registry at once, and when nothing is.
//!
//! The number of requests in flight follows what the registry bears: it is halved when the registry
//! says that it is too much (429, or 503 with `Retry-After`), and grows by one after some rounds of
//! answers without complaint (AIMD, as TCP does). When the registry says how long to wait, everybody waits. See
//! docs/adr/0013-limits-of-a-registry.md.
//!
//! [`Window`] decides, with the clock as a value; [`Limit`] waits. Neither knows HTTP.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Requests in flight before the registry has said anything: more than a run has use for.
const FIRST_WINDOW: u32 = 64;
const LARGEST_WINDOW: u32 = 128;
/// Rounds of answers without complaint before one more request goes out. Each attempt at more costs up to
/// a round of refusals: with one round between attempts a quarter of all requests is refused.
const ROUNDS: u32 = 8;

/// How a registry answered, as far as the limit is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// It bears more.
    Fine,
    /// It does not, and may have said how long to wait.
    TooMuch(Option<Duration>),
    /// Nothing can be learnt from it: no answer, or an error of another kind.
    Unknown,
}

/// Whether a request may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    /// Now.
    Go,
    /// Not before this moment.
    At(Instant),
    /// When another one has ended.
    Full,
}

/// The decisions about one registry.
#[derive(Debug)]
struct Window {
    /// Requests that may be in flight; never less than one.
    size: u32,
    in_flight: u32,
    /// Answers without complaint since the window grew.
    fine: u32,
    /// Nothing goes out before.
    opens: Option<Instant>,
    /// When it was last halved: what went out before tells nothing new.
    halved: Option<Instant>,
}

impl Window {
    const fn new() -> Self {
        Self {
            size: FIRST_WINDOW,
            in_flight: 0,
            fine: 0,
            opens: None,
            halved: None,
        }
    }

    fn admission(&self, now: Instant) -> Admission {
        match self.opens {
            Some(opens) if now < opens => Admission::At(opens),
            _ if self.in_flight < self.size => Admission::Go,
            _ => Admission::Full,
        }
    }

    /// Takes note of an answer to a request that went out at `sent`.
    fn learn(&mut self, load: Load, sent: Instant, now: Instant) {
        match load {
            Load::Unknown => {}
            Load::Fine => {
                self.fine += 1;
                if self.fine >= self.size * ROUNDS {
                    self.fine = 0;
                    self.size = LARGEST_WINDOW.min(self.size + 1);
                }
            }
            Load::TooMuch(wait) => {
                if self.halved.is_none_or(|halved| sent >= halved) {
                    // What is in flight is what was too much.
                    self.size = (self.size.min(self.in_flight) / 2).max(1);
                    self.fine = 0;
                    self.halved = Some(now);
                }
                // A wait that ends after the end of time is no wait that can be kept.
                if let Some(opens) = wait.and_then(|wait| now.checked_add(wait)) {
                    self.opens = self.opens.max(Some(opens));
                }
            }
        }
    }
}

/// The limit of one registry for one set of credentials.
#[derive(Debug)]
pub(super) struct Limit {
    window: Mutex<Window>,
    freed: Notify,
}

/// A request in flight; the place is free again when it is dropped.
#[derive(Debug)]
pub(super) struct InFlight<'a> {
    limit: &'a Limit,
    sent: Instant,
}

impl Limit {
    pub(super) const fn new() -> Self {
        Self {
            window: Mutex::new(Window::new()),
            freed: Notify::const_new(),
        }
    }

    /// Waits until another request may go out.
    ///
    /// # Errors
    ///
    /// The wait that the registry has asked for, when it is longer than `longest`: nobody waits then.
    pub(super) async fn admit(&self, longest: Duration) -> Result<InFlight<'_>, Duration> {
        loop {
            // Registered before the look, so that no end in between is missed.
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            let now = Instant::now();
            let admission = {
                let mut window = self.window();
                let admission = window.admission(now);
                if admission == Admission::Go {
                    window.in_flight += 1;
                }
                admission
            };
            match admission {
                Admission::Go => {
                    return Ok(InFlight {
                        limit: self,
                        sent: now,
                    });
                }
                Admission::At(opens) => wait_until(opens, now, longest).await?,
                Admission::Full => freed.await,
            }
        }
    }

    /// Waits as long as the registry has asked everybody to. For uploads: they are not counted, because
    /// one that waits for its content would hold the place that reading the content needs.
    pub(super) async fn open(&self, longest: Duration) -> Result<(), Duration> {
        loop {
            let now = Instant::now();
            let admission = self.window().admission(now);
            match admission {
                Admission::At(opens) => wait_until(opens, now, longest).await?,
                Admission::Go | Admission::Full => return Ok(()),
            }
        }
    }

    /// Takes note of an answer to an upload that went out at `sent`.
    pub(super) fn learn(&self, load: Load, sent: Instant) {
        self.window().learn(load, sent, Instant::now());
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn wait_until(opens: Instant, now: Instant, longest: Duration) -> Result<(), Duration> {
    let wait = opens.saturating_duration_since(now);
    if wait > longest {
        return Err(wait);
    }
    tokio::time::sleep_until(opens).await;
    Ok(())
}

impl InFlight<'_> {
    /// Takes note of the answer.
    pub(super) fn learn(&self, load: Load) {
        self.limit.learn(load, self.sent);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.limit.window().in_flight -= 1;
        self.limit.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rstest::rstest;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_mins(1);

    fn window(size: u32, in_flight: u32) -> Window {
        Window {
            size,
            in_flight,
            ..Window::new()
        }
    }

    #[rstest]
    #[case::all_of_it(64, 64, 32)]
    #[case::what_was_in_flight(64, 10, 5)]
    #[case::one_is_left(2, 2, 1)]
    #[case::never_none(1, 1, 1)]
    #[case::nothing_was_in_flight(8, 0, 1)]
    #[tokio::test]
    async fn case_72_too_much_is_halved(
        #[case] size: u32,
        #[case] in_flight: u32,
        #[case] halved: u32,
    ) {
        let now = Instant::now();
        let mut window = window(size, in_flight);
        window.learn(Load::TooMuch(None), now, now);
        assert_eq!(window.size, halved);
        assert_eq!(window.opens, None);
    }

    #[tokio::test]
    async fn case_72_answers_to_what_went_out_before_do_not_halve_again() {
        let sent = Instant::now();
        let mut window = window(64, 64);
        for _ in 0..10 {
            window.learn(Load::TooMuch(None), sent, sent + SECOND);
        }
        assert_eq!(window.size, 32);
        window.learn(Load::TooMuch(None), sent + SECOND, sent + 2 * SECOND);
        assert_eq!(window.size, 16);
    }

    #[tokio::test]
    async fn rounds_without_complaint_let_one_more_out() {
        let now = Instant::now();
        let mut window = window(4, 4);
        for _ in 1..4 * ROUNDS {
            window.learn(Load::Fine, now, now);
        }
        assert_eq!(window.size, 4);
        window.learn(Load::Unknown, now, now);
        assert_eq!(window.size, 4);
        window.learn(Load::Fine, now, now);
        assert_eq!(window.size, 5);
        window.size = LARGEST_WINDOW;
        for _ in 0..2 * ROUNDS * LARGEST_WINDOW {
            window.learn(Load::Fine, now, now);
        }
        assert_eq!(window.size, LARGEST_WINDOW);
    }

    #[tokio::test]
    async fn case_72_the_longest_wait_counts_and_one_without_end_does_not() {
        let now = Instant::now();
        let mut window = window(4, 0);
        for seconds in [2, 5, 1] {
            let wait = Some(Duration::from_secs(seconds));
            window.learn(Load::TooMuch(wait), now, now);
        }
        assert_eq!(window.admission(now), Admission::At(now + 5 * SECOND));
        assert_eq!(window.admission(now + 5 * SECOND), Admission::Go);
        window.learn(Load::TooMuch(Some(Duration::MAX)), now, now);
        assert_eq!(window.admission(now + 5 * SECOND), Admission::Go);
    }

    #[tokio::test(start_paused = true)]
    async fn case_72_everybody_waits_when_one_is_told_to() {
        let limit = Arc::new(Limit::new());
        let begin = Instant::now();
        let told = limit.admit(LONG).await.unwrap();
        told.learn(Load::TooMuch(Some(3 * SECOND)));
        drop(told);
        let others: Vec<_> = (0..5)
            .map(|_| {
                let limit = Arc::clone(&limit);
                tokio::spawn(async move {
                    limit.open(LONG).await.unwrap();
                    let _in_flight = limit.admit(LONG).await.unwrap();
                    Instant::now()
                })
            })
            .collect();
        for other in others {
            assert!(other.await.unwrap() - begin >= 3 * SECOND);
        }
        let told = limit.admit(LONG).await.unwrap();
        told.learn(Load::TooMuch(Some(2 * LONG)));
        assert_eq!(limit.admit(LONG).await.unwrap_err(), 2 * LONG);
        assert_eq!(limit.open(LONG).await.unwrap_err(), 2 * LONG);
        assert_eq!(Instant::now() - begin, 3 * SECOND, "nobody waited for that");
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_bears_five_at_once_is_found_out() {
        const BEARS: u32 = 5;
        const REQUESTS: u32 = 2000;
        let limit = Arc::new(Limit::new());
        let at_once = Arc::new(AtomicU32::new(0));
        let refused = Arc::new(AtomicU32::new(0));
        let clients = (0..100).map(|_| {
            let (limit, at_once, refused) = (limit.clone(), at_once.clone(), refused.clone());
            tokio::spawn(async move {
                for _ in 0..REQUESTS / 100 {
                    let request = limit.admit(LONG).await.unwrap();
                    let too_much = at_once.fetch_add(1, Ordering::Relaxed) >= BEARS;
                    tokio::time::sleep(Duration::from_millis(40)).await;
                    at_once.fetch_sub(1, Ordering::Relaxed);
                    request.learn(if too_much {
                        refused.fetch_add(1, Ordering::Relaxed);
                        Load::TooMuch(None)
                    } else {
                        Load::Fine
                    });
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        let refused = refused.load(Ordering::Relaxed);
        assert!(refused < REQUESTS / 10, "{refused} of {REQUESTS} refused");
        assert_eq!(limit.window().in_flight, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_given_up_frees_its_place() {
        let limit = Limit::new();
        *limit.window() = window(1, 0);
        let first = limit.admit(LONG).await.unwrap();
        let waiting = tokio::time::timeout(SECOND, limit.admit(LONG)).await;
        assert!(waiting.is_err(), "the place is taken");
        drop(first);
        drop(limit.admit(LONG).await.unwrap());
        assert_eq!(limit.window().in_flight, 0);
    }
}
