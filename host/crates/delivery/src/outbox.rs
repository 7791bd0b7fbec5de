//! Preparing messages that a receiver published: an id, a hop count, and no attributes of the host.

use uuid::Uuid;
use wasmpost_msg::{Publication, is_reserved};

use crate::lease::Delivery;

/// How many receivers a message may come through. One more is dead-lettered with the reason `loop`.
pub const HOPS_MAX: u32 = 16;

/// The namespace of forwarded ids, drawn once at random.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b0f_5fd2_9e9c_4f0c_9f6e_3f1d_20a4_c7b1);

/// The outbox of a delivery from `queue`, ready to be published. The id of each message is made from the source's id,
/// the queue and its place in the outbox, so that a second forwarding of the same message can be recognised.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
/// use wasmpost_delivery::{Broker, QueueSpec, forwarded};
/// use wasmpost_msg::{Attributes, Publication};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new(MemoryOptions::default());
/// let queue = broker.queue(QueueSpec::new("orders")).await?;
/// broker.publish(vec![Publication::new("orders", Attributes::new(), "{}")]).await?;
/// let source = queue.pull(1).await?.remove(0);
///
/// let outbox = vec![Publication::new("mails", Attributes::new(), "thank you")];
/// let first = forwarded("orders", &source, outbox.clone());
/// let again = forwarded("orders", &source, outbox);
/// assert_eq!((first[0].hops, &first[0].id), (1, &again[0].id));
/// # Ok(())
/// # }
/// ```
pub fn forwarded(queue: &str, source: &Delivery, mut outbox: Vec<Publication>) -> Vec<Publication> {
    for (ordinal, publication) in outbox.iter_mut().enumerate() {
        let origin = format!("{}\n{queue}\n{ordinal}", source.id);
        publication.id = Some(Uuid::new_v5(&NAMESPACE, origin.as_bytes()).to_string());
        publication.hops = source.hops + 1;
        let reserved: Vec<_> =
            publication.attributes.iter().map(|(name, _)| name.to_owned()).filter(|name| is_reserved(name)).collect();
        reserved.iter().for_each(|name| drop(publication.attributes.remove(name)));
    }
    outbox
}
