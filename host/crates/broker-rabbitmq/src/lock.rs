//! A lock that all hosts of a broker have together: a queue that only its connection may use, which ends with it.

use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;
use wasmpost_delivery::{BrokerError, BrokerErrorKind};
use wasmpost_msg::chain;

use crate::error::{answered, unavailable};
use crate::link::Link;
use crate::names::{LOCK, short};

/// How long it is waited for. A host that is cut off loses it when the broker misses its heartbeats.
const WAIT_MAX: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// The lock as seen from this process, whose connection could take it twice.
#[derive(Default, Clone)]
pub(crate) struct Lock(Arc<Mutex<()>>);

/// Has the lock until it is released or dropped.
pub(crate) struct Locked {
    channel: Option<Channel>,
    _here: OwnedMutexGuard<()>,
}

impl Lock {
    pub(crate) async fn take(&self, link: &Link) -> Result<Locked, BrokerError> {
        let deadline = Instant::now() + WAIT_MAX;
        let late = || unavailable(format!("another host holds the lock of the catalogue for more than {WAIT_MAX:?}"));
        let here = Arc::clone(&self.0).lock_owned();
        let here = tokio::time::timeout_at(deadline, here).await.map_err(|_| late())?;
        let mut pause = Duration::from_millis(10);
        loop {
            let channel = link.channel().await?;
            let alone = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
            let declaring = channel.queue_declare(short(LOCK), alone, FieldTable::default());
            match answered("taking the lock of the catalogue", declaring).await {
                Ok(_) => return Ok(Locked { channel: Some(channel), _here: here }),
                Err(error) if error.kind() != BrokerErrorKind::InUse => return Err(error),
                Err(_) if Instant::now() + pause > deadline => return Err(late()),
                Err(_) => tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

impl Locked {
    pub(crate) async fn release(mut self) {
        if let Some(channel) = self.channel.take() {
            release(channel).await;
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // The holder was cut off. Others must not wait until the connection ends.
        if let (Some(channel), Ok(runtime)) = (self.channel.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(release(channel));
        }
    }
}

async fn release(channel: Channel) {
    let deleting = channel.queue_delete(short(LOCK), QueueDeleteOptions::default());
    if let Err(error) = answered("releasing the lock of the catalogue", deleting).await {
        // It ends with the connection, which is why it could not be released.
        tracing::debug!(error = %chain(&error), "lock was not released in order");
    }
}
