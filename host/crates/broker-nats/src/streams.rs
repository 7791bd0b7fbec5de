//! The streams: made where they are missing, checked where they are there.

use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use wasmpost_delivery::{BrokerError, BrokerErrorKind};

use crate::error::{in_time, invalid, unavailable};
use crate::options::{Create, DEFAULT_PARTITIONS, Options};

/// Where the stream of messages keeps the number of partitions, on which all hosts must agree.
const PARTITIONS: &str = "wasmpost-partitions";
/// How long ids are remembered, where nothing else is said.
const DEDUP_WINDOW: Duration = Duration::from_secs(600);
/// How long it is remembered what attempts came to, after the last of them.
const ATTEMPTS_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The properties of the streams, once they exist.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) partitions: u64,
    /// Whether what is confirmed survives the server's process.
    pub(crate) durable: bool,
}

/// Makes or checks all streams.
pub(crate) async fn declare(context: &Context, options: &Options) -> Result<Known, BrokerError> {
    let names = &options.names;
    let (messages, partitions) = declare_messages(context, options).await?;
    let storage = messages.storage;
    let side = |name: String, subjects: String| Config {
        name,
        subjects: vec![subjects],
        storage,
        num_replicas: messages.num_replicas,
        duplicate_window: messages.duplicate_window,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    let dead = Config {
        description: Some(format!("dead letters of {}, with their evidence", names.stream)),
        ..side(names.dead(), format!("{}.*", names.dead()))
    };
    let queues = Config {
        max_messages_per_subject: 1,
        // The newest tells; the one before goes.
        discard: DiscardPolicy::Old,
        description: Some(format!("topics of each queue of {}", names.stream)),
        ..side(names.queues(), format!("{}.*.*", names.queues()))
    };
    let attempts = Config {
        max_messages_per_subject: 1,
        discard: DiscardPolicy::Old,
        max_age: ATTEMPTS_AGE,
        description: Some(format!("attempts at messages of {}", names.stream)),
        ..side(names.attempts(), format!("{}.*.*", names.attempts()))
    };
    for wanted in [dead, queues, attempts] {
        one(context, options, wanted).await?;
    }
    Ok(Known { partitions, durable: storage == StorageType::File })
}

async fn declare_messages(context: &Context, options: &Options) -> Result<(Config, u64), BrokerError> {
    let names = &options.names;
    let found = find(context, &names.stream).await?;
    let said = |value: &str| HashMap::from([(PARTITIONS.to_owned(), value.to_owned())]);
    let kept = found.as_ref().map(|found| found.metadata.get(PARTITIONS).and_then(|kept| kept.parse().ok()));
    let partitions = match (options.partitions, kept) {
        (wanted, None) => wanted.unwrap_or(DEFAULT_PARTITIONS),
        // Made by hand: nothing is known of it.
        (wanted, Some(None)) => wanted.unwrap_or(DEFAULT_PARTITIONS),
        (None, Some(Some(kept))) => kept,
        (Some(wanted), Some(Some(kept))) if wanted == kept => kept,
        (Some(wanted), Some(Some(kept))) => {
            let stream = &names.stream;
            return Err(invalid(format!(
                "stream {stream:?}: partitions is {kept}, expected {wanted}; it cannot be changed, because messages lie \
                 in their partitions"
            )));
        }
    };
    let base = found.clone().unwrap_or_else(|| Config {
        storage: StorageType::File,
        num_replicas: 1,
        duplicate_window: options.max_age.map_or(DEDUP_WINDOW, |max_age| max_age.min(DEDUP_WINDOW)),
        metadata: said(&partitions.to_string()),
        description: Some("messages of wasmpost, by queue and partition".into()),
        ..Config::default()
    });
    let wanted = Config {
        name: names.stream.clone(),
        subjects: vec![format!("{}.*.*", names.stream)],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        storage: options.storage.unwrap_or(base.storage),
        num_replicas: options.replicas.unwrap_or(base.num_replicas),
        duplicate_window: options.dedup_window.unwrap_or(base.duplicate_window),
        max_age: options.max_age.unwrap_or(base.max_age),
        max_bytes: options.max_bytes.unwrap_or(base.max_bytes),
        ..base
    };
    settle(context, options, wanted.clone(), found).await?;
    Ok((wanted, partitions))
}

async fn one(context: &Context, options: &Options, wanted: Config) -> Result<(), BrokerError> {
    let found = find(context, &wanted.name).await?;
    settle(context, options, wanted, found).await
}

async fn settle(
    context: &Context,
    options: &Options,
    wanted: Config,
    found: Option<Config>,
) -> Result<(), BrokerError> {
    let name = wanted.name.clone();
    match (found, options.create) {
        (None, Create::No) => {
            let fault = format!("stream {name:?} is missing; make it, or leave out create=no");
            Err(BrokerError::new(BrokerErrorKind::NotFound, fault))
        }
        (None, _) => {
            in_time(|| format!("stream {name:?} could not be made"), context.create_stream(&wanted)).await?;
            tracing::info!(stream = name, "stream was made");
            Ok(())
        }
        (Some(found), create) => match (difference(&wanted, &found), create) {
            (None, _) => Ok(()),
            (Some(_), Create::Update) => {
                let changed = changed(wanted, found);
                in_time(|| format!("stream {name:?} could not be changed"), context.update_stream(&changed)).await?;
                tracing::info!(stream = name, "stream was changed");
                Ok(())
            }
            (Some(difference), _) => Err(difference),
        },
    }
}

/// The configuration that was found, with the wanted settings.
fn changed(wanted: Config, found: Config) -> Config {
    Config {
        subjects: wanted.subjects,
        retention: wanted.retention,
        discard: wanted.discard,
        storage: wanted.storage,
        num_replicas: wanted.num_replicas,
        duplicate_window: wanted.duplicate_window,
        max_age: wanted.max_age,
        max_bytes: wanted.max_bytes,
        max_messages_per_subject: wanted.max_messages_per_subject,
        ..found
    }
}

async fn find(context: &Context, name: &str) -> Result<Option<Config>, BrokerError> {
    let what = || format!("stream {name:?} could not be looked up");
    let finding = async {
        match context.get_stream(name).await {
            Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(refused) if refused.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    Ok(None)
                }
                _ => Err(error),
            },
        }
    };
    match in_time(what, finding).await {
        Err(error) if error.to_string().contains("no responders") => {
            let fault = format!("{}; the server runs without JetStream: start it with -js", what());
            Err(unavailable(fault, error))
        }
        found => found,
    }
}

/// Says in which field a stream is not what it has to be.
fn difference(wanted: &Config, found: &Config) -> Option<BrokerError> {
    let name = &wanted.name;
    let unlimited = |limit: i64| if limit <= 0 { "unlimited".to_owned() } else { limit.to_string() };
    let age = |age: Duration| if age.is_zero() { "unlimited".to_owned() } else { format!("{age:?}") };
    let fields = [
        ("subjects", format!("{:?}", wanted.subjects), format!("{:?}", found.subjects)),
        ("retention", format!("{:?}", wanted.retention), format!("{:?}", found.retention)),
        ("discard", format!("{:?}", wanted.discard), format!("{:?}", found.discard)),
        ("storage", format!("{:?}", wanted.storage), format!("{:?}", found.storage)),
        ("replicas", wanted.num_replicas.to_string(), found.num_replicas.to_string()),
        ("dedup_window", format!("{:?}", wanted.duplicate_window), format!("{:?}", found.duplicate_window)),
        ("max_age", age(wanted.max_age), age(found.max_age)),
        ("max_bytes", unlimited(wanted.max_bytes), unlimited(found.max_bytes)),
        ("max_msgs_per_subject", unlimited(wanted.max_messages_per_subject), unlimited(found.max_messages_per_subject)),
    ];
    let differing = fields.iter().find(|(_, wanted, found)| wanted != found);
    differing.map(|(field, wanted, found)| differs(name, field, wanted, found))
}

fn differs(stream: &str, field: &str, wanted: &(impl Debug + Display), found: &(impl Debug + Display)) -> BrokerError {
    invalid(format!(
        "stream {stream:?}: {field} is {found}, expected {wanted}; change the URL or the stream, or use create=update"
    ))
}
