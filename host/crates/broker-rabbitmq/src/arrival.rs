//! Handling deliveries of the broker: most go to a receiver, some only hop on.

use std::sync::Arc;

use bytes::Bytes;
use lapin::message::Delivery as Arrived;
use wasmpost_delivery::{BrokerError, CRASHES_MAX, Evidence};
use wasmpost_msg::chain;

use crate::envelope::Envelope;
use crate::feed::Feed;
use crate::foreign::{self, Origin, whole_number};
use crate::hold::Hold;
use crate::session::Session;

/// How often hosts, or their connections, may end with a message before it is taken for what ends them. RabbitMQ counts a
/// restart of its own nodes as well, so two more are allowed than on other brokers.
const LOSSES_MAX: u32 = CRASHES_MAX + 2;

/// A delivery for a receiver.
pub(crate) struct Incoming {
    pub(crate) hold: Hold,
    pub(crate) envelope: Envelope,
    /// How often this copy came back without having been settled.
    pub(crate) returns: u32,
}

/// A detour that it takes instead.
enum Detour {
    Expire,
    PutOff,
    /// It has no id of its own, and gets one to keep.
    Adopt,
    Quarantine,
}

/// Sends a delivery where it belongs.
pub(crate) fn arrive(feed: &Arc<Feed>, session: &Arc<Session>, consumer: u64, arrived: Arrived) {
    let hold = Hold::new(Arc::clone(feed), Arc::clone(session), consumer, arrived.delivery_tag);
    let now = feed.hub().now();
    let returns = returns(&arrived);
    let body = Bytes::from(arrived.data);
    let decoded = Envelope::decoded(&arrived.properties, &body).map(|envelope| (envelope, true));
    let (envelope, has_id) = decoded.unwrap_or_else(|| {
        let origin = Origin { exchange: arrived.exchange.as_str(), queue: feed.queue(), now };
        foreign::envelope(&arrived.properties, body, &origin)
    });
    let detour = match &envelope.head {
        head if head.expires.is_some_and(|expires| expires <= now) => Detour::Expire,
        head if head.due.is_some_and(|due| due > now) => Detour::PutOff,
        _ if !has_id => Detour::Adopt,
        _ if returns >= LOSSES_MAX => Detour::Quarantine,
        _ => return feed.offer(Incoming { hold, envelope, returns }),
    };
    feed.passed(consumer);
    // As many at a time as consumers have credit.
    let closed = feed.hub().link.closed().clone();
    tokio::spawn(closed.run_until_cancelled_owned(take_detour(Arc::clone(feed), hold, envelope, returns, detour)));
}

async fn take_detour(feed: Arc<Feed>, hold: Hold, envelope: Envelope, returns: u32, detour: Detour) {
    let id = envelope.head.id.clone();
    if let Err(error) = detoured(&feed, envelope, returns, &detour).await {
        tracing::warn!(
            queue = feed.queue(), %id, error = %chain(&error),
            "message could not be passed on; it is tried again"
        );
        return hold.requeue_later();
    }
    if matches!(detour, Detour::Expire) {
        feed.tally().lock().expired += 1;
    }
    if let Err(error) = hold.ack().await {
        tracing::debug!(
            queue = feed.queue(), %id, error = %chain(&error),
            "message comes again after it was passed on"
        );
    }
}

async fn detoured(feed: &Feed, mut envelope: Envelope, returns: u32, detour: &Detour) -> Result<(), BrokerError> {
    let hub = feed.hub();
    let queue = feed.queue();
    // The broker counts for a copy, and this makes another one.
    envelope.head.deliveries += returns;
    match detour {
        Detour::Expire => Ok(()),
        Detour::PutOff => hub.put_off(queue, &envelope).await,
        Detour::Adopt => hub.put(queue, &[envelope]).await,
        Detour::Quarantine => {
            tracing::error!(queue, id = %envelope.head.id, losses = returns, "dead-lettered: hosts ended while they had it");
            hub.bury(queue, envelope, Evidence::crashed(returns)).await
        }
    }
}

/// How often the broker got the delivery back.
pub(crate) fn returns(arrived: &Arrived) -> u32 {
    let headers = arrived.properties.headers().as_ref();
    let count = headers.and_then(|headers| headers.inner().get("x-delivery-count")).and_then(whole_number);
    count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}
