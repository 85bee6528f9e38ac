//! Waiting for a condition, never for time.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take on a slow and busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// Asks again until there is an answer; at the end panics with why there was none.
pub(crate) async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(why) if start.elapsed() > DEADLINE => {
                panic!("{what}: not within {DEADLINE:?}: {why}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
