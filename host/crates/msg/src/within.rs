//! A deadline for what is mostly done at once.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// The output of a future, or none if it takes longer than `limit`.
///
/// The time counts from when the future first has to wait, and only then is a timer set: most calls of a receiver never
/// wait, and setting a timer takes as long as some of them.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use wasmpost_msg::within;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert_eq!(within(Duration::from_secs(1), async { 7 }).await, Some(7));
/// assert_eq!(within(Duration::from_millis(1), std::future::pending::<()>()).await, None);
/// # Ok(())
/// # }
/// ```
pub async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_ends_at_its_limit() {
        let began = Instant::now();
        assert_eq!(within(LIMIT, std::future::pending::<()>()).await, None);
        assert_eq!(began.elapsed().as_secs(), LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_less_gives_its_output() {
        assert_eq!(within(LIMIT, async { tokio::time::sleep(LIMIT / 2).await }).await, Some(()));
    }

    #[test]
    fn what_is_done_at_once_needs_no_timer() {
        // There is no runtime here, so that setting a timer would panic.
        assert_eq!(futures::executor::block_on(within(LIMIT, async { 7 })), Some(7));
    }
}
