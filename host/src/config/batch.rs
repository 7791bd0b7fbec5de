//! How messages are gathered for a component that gets several in one call.

use std::num::NonZeroU32;
use std::time::Duration;

use toml::Spanned;
use wasmpost_delivery::BatchOptions;
use wasmpost_sandbox::{BATCH_MAX, Size, Span};

use super::ConfigError;
use super::raw::{CONCURRENCY, Source};

/// The longest that a message may wait for others.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The most bytes of a batch.
const BYTES_MAX: Size = Size(64 << 20);

/// How messages are gathered for a component that gets several in one call, as far as it is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchConfig {
    /// The most messages in a call.
    pub messages: Option<u32>,
    /// How long the first of them waits for others.
    pub wait: Option<Duration>,
    /// The most bytes of bodies and attributes in a call.
    pub bytes: Option<Size>,
}

/// The same as it is written.
pub(super) struct RawBatch<'a> {
    pub(super) messages: Option<&'a Spanned<NonZeroU32>>,
    pub(super) wait: Option<&'a Spanned<Span>>,
    pub(super) bytes: Option<&'a Spanned<Size>>,
    /// How many messages may be in flight, if it is given.
    pub(super) concurrency: Option<NonZeroU32>,
}

impl RawBatch<'_> {
    pub(super) fn checked(self, source: &Source<'_>) -> Result<BatchConfig, ConfigError> {
        if let Some(messages) = self.messages {
            let given = messages.get_ref().get();
            if given > BATCH_MAX {
                let fault = format!("batch is {given}; a call has {BATCH_MAX} messages at most");
                return Err(source.fault(messages, fault));
            }
            if let Some(concurrency) = self.concurrency.filter(|concurrency| concurrency.get() < given) {
                let fault = format!(
                    "batch is {given}, and concurrency lets {concurrency} messages be in flight: raise concurrency, or leave \
                     it out to have twice a batch"
                );
                return Err(source.fault(messages, fault));
            }
        }
        if let Some(wait) = self.wait.filter(|wait| wait.get_ref().0 > WAIT_MAX) {
            let fault = format!("batch_wait is {}; {} at most", wait.get_ref(), Span(WAIT_MAX));
            return Err(source.fault(wait, fault));
        }
        let is_out = |bytes: &Size| bytes.0 == 0 || *bytes > BYTES_MAX;
        if let Some(bytes) = self.bytes.filter(|bytes| is_out(bytes.get_ref())) {
            let fault = format!("batch_bytes is {}; it is between 1B and {BYTES_MAX}", bytes.get_ref());
            return Err(source.fault(bytes, fault));
        }
        Ok(BatchConfig {
            messages: self.messages.map(|messages| messages.get_ref().get()),
            wait: self.wait.map(|wait| wait.get_ref().0),
            bytes: self.bytes.map(|bytes| *bytes.get_ref()),
        })
    }
}

impl BatchConfig {
    /// A setting that is given, if one is.
    pub fn given(&self) -> Option<&'static str> {
        let messages = self.messages.map(|_| "batch");
        messages.or(self.wait.map(|_| "batch_wait")).or(self.bytes.map(|_| "batch_bytes"))
    }

    /// How many messages are in flight, and how they are gathered, where `concurrency` is what is given.
    pub fn options(&self, concurrency: Option<usize>) -> (usize, BatchOptions) {
        let default = BatchOptions::default();
        let messages = self.messages.map_or(default.messages, |messages| messages as usize);
        let concurrency = concurrency.unwrap_or(2 * messages);
        let options = BatchOptions {
            messages: messages.min(concurrency),
            wait: self.wait.unwrap_or(default.wait),
            bytes: self.bytes.map_or(default.bytes, |bytes| bytes.bytes()),
        };
        (concurrency, options)
    }
}

/// How many messages are in flight where each is handed over alone.
pub(crate) fn concurrency_or_default(concurrency: Option<usize>) -> usize {
    concurrency.unwrap_or(CONCURRENCY as usize)
}
