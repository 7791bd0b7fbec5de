//! The consumers of a queue: made where they are missing, checked where they are there.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use wasmpost_delivery::{BrokerError, BrokerErrorKind, QueueSpec};

use crate::error::{in_time, invalid};
use crate::link::Link;
use crate::names::{FREE, consumer};
use crate::options::Create;

/// How much longer than the host's the server's lease lasts, at least: so long may a settlement be on its way.
const MARGIN: Duration = Duration::from_secs(1);
/// How many requests for messages may wait at a consumer: one of each host.
const WAITING_MAX: i64 = 4096;

/// The consumers of a queue, that of messages without a key first.
pub(crate) fn names(link: &Link, queue: &str) -> Vec<String> {
    partitions(link).map(|partition| consumer(queue, &partition)).collect()
}

fn partitions(link: &Link) -> impl Iterator<Item = String> {
    std::iter::once(FREE.to_owned()).chain((0..link.known.partitions).map(|number| number.to_string()))
}

/// How long the server waits for a settlement. It lasts longer than the host's own lease, which ends the right to
/// settle: what is settled in time arrives in time.
pub(crate) fn ack_wait(lease: Duration) -> Duration {
    lease + MARGIN.max(lease / 4)
}

/// Makes or checks all consumers of a queue.
pub(crate) async fn declare(link: &Link, spec: &QueueSpec) -> Result<(), BrokerError> {
    let declaring = partitions(link).map(|partition| async move { one(link, spec, &partition).await });
    futures::future::try_join_all(declaring).await.map(drop)
}

async fn one(link: &Link, spec: &QueueSpec, partition: &str) -> Result<(), BrokerError> {
    let name = consumer(&spec.name, partition);
    let wanted = pull::Config {
        durable_name: Some(name.clone()),
        description: Some(format!("queue {} of wasmpost", spec.name)),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ack_wait(spec.lease),
        // The host decides when a message has failed often enough.
        max_deliver: -1,
        filter_subject: link.names.message_subject(&spec.name, partition),
        max_waiting: WAITING_MAX,
        max_ack_pending: if partition == FREE { link.options.in_flight } else { 1 },
        ..pull::Config::default()
    };
    let found = find(link, &name).await?;
    let create = link.options.create;
    let what = || format!("queue {:?}: consumer {name:?} could not be made", spec.name);
    match found {
        None if create == Create::No => {
            let fault = format!("queue {:?}: consumer {name:?} is missing; leave out create=no", spec.name);
            Err(BrokerError::new(BrokerErrorKind::NotFound, fault))
        }
        None => in_time(what, link.messages.create_consumer(wanted)).await.map(drop),
        Some(found) => match difference(&spec.name, &name, &wanted, &found) {
            None => Ok(()),
            Some(_) if create == Create::Update => in_time(what, link.messages.create_consumer(wanted)).await.map(drop),
            Some(difference) => Err(difference),
        },
    }
}

async fn find(link: &Link, name: &str) -> Result<Option<async_nats::jetstream::consumer::Config>, BrokerError> {
    let finding = async {
        match link.messages.consumer_info(name).await {
            Ok(info) => Ok(Some(info.config)),
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    };
    in_time(|| format!("consumer {name:?} could not be looked up"), finding).await
}

/// Says in which field a consumer is not what it has to be.
fn difference(
    queue: &str,
    name: &str,
    wanted: &pull::Config,
    found: &async_nats::jetstream::consumer::Config,
) -> Option<BrokerError> {
    let fields = [
        ("filter_subject", wanted.filter_subject.clone(), found.filter_subject.clone()),
        ("ack_policy", format!("{:?}", wanted.ack_policy), format!("{:?}", found.ack_policy)),
        ("ack_wait", format!("{:?}", wanted.ack_wait), format!("{:?}", found.ack_wait)),
        ("max_deliver", wanted.max_deliver.to_string(), found.max_deliver.to_string()),
        ("max_ack_pending", wanted.max_ack_pending.to_string(), found.max_ack_pending.to_string()),
    ];
    let (field, wanted, found) = fields.into_iter().find(|(_, wanted, found)| wanted != found)?;
    let hint = match field {
        "ack_wait" => "; hosts that share a queue have one lease",
        "max_ack_pending" => "; hosts that share a queue have one in_flight",
        _ => "",
    };
    Some(invalid(format!(
        "queue {queue:?}: consumer {name:?}: {field} is {found}, expected {wanted}{hint}; use create=update to \
         change it"
    )))
}
