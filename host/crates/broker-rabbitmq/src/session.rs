//! A channel that deliveries come over. With it ends every lease that it brought.

use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use wasmpost_delivery::BrokerError;

use crate::error::answered;

pub(crate) struct Session {
    pub(crate) channel: Channel,
}

impl Session {
    pub(crate) fn is_alive(&self) -> bool {
        self.channel.status().connected()
    }

    pub(crate) async fn ack(&self, tag: u64) -> Result<(), BrokerError> {
        answered("acknowledging", self.channel.basic_ack(tag, BasicAckOptions::default())).await
    }

    /// Puts a delivery back to where it was; the broker counts it.
    pub(crate) async fn requeue(&self, tag: u64) -> Result<(), BrokerError> {
        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        answered("putting back", self.channel.basic_nack(tag, options)).await
    }
}
