//! Whose turn it is. So many objects are reconciled at once as the operator is told; those that wait for a
//! registry do not count among them, so that a registry that does not answer delays nobody else.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// The turns of one operator.
#[derive(Debug)]
pub(super) struct Turns {
    free: Semaphore,
    cancel: CancellationToken,
}

/// The right to be reconciled now; dropping it gives it to the next one.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    /// Nothing only if nobody is to be kept waiting any more.
    _permit: Option<SemaphorePermit<'a>>,
}

impl Turns {
    /// As many as `count` at once. What waits for a registry gives up at `cancel`.
    pub(super) fn new(count: u16, cancel: CancellationToken) -> Self {
        Self {
            free: Semaphore::new(usize::from(count.max(1))),
            cancel,
        }
    }

    /// Waits for a turn; who came first goes first.
    pub(super) async fn take(&self) -> Turn<'_> {
        Turn {
            turns: self,
            _permit: self.free.acquire().await.ok(),
        }
    }
}

impl<'a> Turn<'a> {
    /// Waits for something outside while others have their turn, and then for another turn. [`None`] when the
    /// operator ends meanwhile: the next leader begins again.
    pub(super) async fn wait_for<T>(self, work: impl Future<Output = T>) -> Option<(Turn<'a>, T)> {
        let turns = self.turns;
        drop(self);
        let result = tokio::select! {
            result = work => result,
            () = turns.cancel.cancelled() => return None,
        };
        Some((turns.take().await, result))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_something_outside_keeps_nobody_waiting() {
        let turns = Turns::new(1, CancellationToken::new());
        let turn = turns.take().await;
        assert!(turns.take().now_or_never().is_none());
        let (answer, answered) = tokio::sync::oneshot::channel();
        let mut waiting = Box::pin(turn.wait_for(answered));
        assert!(waiting.as_mut().now_or_never().is_none());
        let other = turns.take().now_or_never().expect("a free turn");
        // The answer comes, and now it waits for its turn.
        answer.send("answer").unwrap();
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(other);
        let (_turn, result) = waiting
            .now_or_never()
            .expect("a free turn")
            .expect("no end");
        assert_eq!(result, Ok("answer"));
        assert!(turns.take().now_or_never().is_none());
    }

    #[tokio::test]
    async fn what_waits_ends_with_the_operator() {
        let cancel = CancellationToken::new();
        let turns = Turns::new(1, cancel.clone());
        let mut waiting = Box::pin(turns.take().await.wait_for(std::future::pending::<()>()));
        assert!(waiting.as_mut().now_or_never().is_none());
        cancel.cancel();
        assert!(matches!(waiting.now_or_never(), Some(None)));
    }
}
