//! A copy of the last version of the catalogue for readers, in a queue of its own. A reader takes it and gives it
//! back at once, so that nobody waits for the lock of all hosts, and nothing is written, where only names or figures are
//! wanted.

use std::time::Duration;

use lapin::options::BasicGetOptions;
use tokio::time::Instant;
use wasmpost_delivery::BrokerError;

use crate::catalogue::{Catalogue, newest};
use crate::error::answered;
use crate::link::Link;
use crate::names::{COPY, short};
use crate::topology;

/// How long other readers may have the copy. Where it does not come back, there may be none.
const COME_MAX: Duration = Duration::from_millis(500);
/// How often it is looked for meanwhile.
const LOOKED_EVERY: Duration = Duration::from_millis(20);

/// The last version, if there is a copy of one.
pub(crate) async fn read(link: &Link) -> Result<Option<Catalogue>, BrokerError> {
    let channel = link.channel().await?;
    // The channel is gone where the queue is not there.
    if topology::count(&channel, short(COPY)).await?.is_none() {
        return Ok(None);
    }
    let until = Instant::now() + COME_MAX;
    loop {
        let mut copies = Vec::new();
        let get = || answered("reading the catalogue", channel.basic_get(short(COPY), BasicGetOptions::default()));
        while let Some(message) = get().await? {
            copies.push(message.delivery.data);
        }
        if !copies.is_empty() || Instant::now() >= until {
            // Messages that were taken go back when the channel is closed.
            topology::finish(channel).await?;
            return newest(COPY, &copies);
        }
        tokio::time::sleep(LOOKED_EVERY).await;
    }
}
