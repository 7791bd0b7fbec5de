//! One delivery that the broker waits to hear of.

use std::sync::Arc;
use std::time::Duration;

use wasmpost_delivery::BrokerError;

use crate::feed::Feed;
use crate::session::Session;

/// How long a delivery whose settling failed is held before it is put back, so that it does not fail as fast as it can.
const FAILED_PAUSE: Duration = Duration::from_secs(2);

/// The right to settle a delivery. Dropped unsettled, it puts the delivery back.
pub(crate) struct Hold {
    feed: Arc<Feed>,
    session: Arc<Session>,
    consumer: u64,
    tag: u64,
    settled: bool,
}

impl Hold {
    pub(crate) fn new(feed: Arc<Feed>, session: Arc<Session>, consumer: u64, tag: u64) -> Self {
        feed.tally().lock().out += 1;
        Self { feed, session, consumer, tag, settled: false }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(crate) fn consumer(&self) -> u64 {
        self.consumer
    }

    pub(crate) fn tag(&self) -> u64 {
        self.tag
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.session.is_alive()
    }

    pub(crate) async fn ack(mut self) -> Result<(), BrokerError> {
        let acked = self.session.ack(self.tag).await;
        self.settle();
        acked
    }

    pub(crate) async fn requeue(mut self) -> Result<(), BrokerError> {
        let put_back = self.session.requeue(self.tag).await;
        self.settle();
        put_back
    }

    /// Puts it back after a while.
    pub(crate) fn requeue_later(self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let closed = self.feed.hub().link.closed().clone();
        runtime.spawn(closed.run_until_cancelled_owned(async move {
            tokio::time::sleep(FAILED_PAUSE).await;
            drop(self.requeue().await);
        }));
    }

    fn settle(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            self.feed.tally().lock().out -= 1;
            self.feed.credit(self.consumer);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        self.settle();
        if let (true, Ok(runtime)) = (self.session.is_alive(), tokio::runtime::Handle::try_current()) {
            let session = Arc::clone(&self.session);
            let tag = self.tag;
            // A channel that ends meanwhile puts it back as well.
            runtime.spawn(async move { drop(session.requeue(tag).await) });
        }
    }
}
