//! One message given to a component, and what became of it.

use std::sync::{Arc, Mutex, OnceLock};

use wasmpost_msg::{
    Attributes, Body, Context, Disposition, Message, Publication, Reason, ReceiveError, Receiver, Usage,
};
use wasmpost_sandbox::{EngineOptions, LogRecord, LogSink, ReceiverOptions, Sandbox, WasmReceiver};
use wasmpost_tests::target;

/// The outcome of one message.
pub struct Outcome {
    /// Whether it was received.
    pub result: Result<(), ReceiveError>,
    /// The messages that the guest published.
    pub published: Vec<Publication>,
    /// The usage of the guest.
    pub usage: Usage,
}

impl Outcome {
    /// How it failed.
    #[track_caller]
    pub fn failed(&self) -> (Disposition, Reason, &str) {
        let error = self.result.as_ref().unwrap_err();
        (error.disposition(), error.reason(), error.text())
    }

    /// The only message that was published: topic, attributes, body.
    #[track_caller]
    pub fn sent(&self) -> (&str, Vec<(String, String)>, String) {
        assert_eq!((&self.result, self.published.len()), (&Ok(()), 1));
        let sent = &self.published[0];
        let attributes = sent.attributes.iter().map(|(name, values)| (name.to_owned(), values.join("|"))).collect();
        (&sent.topic, attributes, String::from_utf8(sent.body.to_vec()).unwrap())
    }
}

/// A sandbox that all tests of a file share, as they share what is compiled.
pub fn sandbox() -> Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    let made = || {
        let cache_dir = Some(target().join("tests-cache/wasmpost/components"));
        Sandbox::new(EngineOptions { pool_instances: 8, cache_dir, ..EngineOptions::default() }).unwrap()
    };
    Arc::clone(SANDBOX.get_or_init(made))
}

/// A receiver for a component, in that sandbox.
pub fn receiver(component: &[u8], options: ReceiverOptions) -> WasmReceiver {
    let sandbox = sandbox();
    let loaded = sandbox.load(component).unwrap();
    WasmReceiver::new(sandbox, loaded, options).unwrap()
}

/// Gives a receiver the third delivery of message `id-7`.
pub async fn receive(receiver: &WasmReceiver, attributes: &[(&str, &str)], body: &str) -> Outcome {
    deliver(receiver, 3, attributes, body.to_owned()).await
}

/// Gives a receiver one delivery of message `id-7`.
pub async fn deliver(
    receiver: &WasmReceiver,
    attempt: u32,
    attributes: &[(&str, &str)],
    body: impl Into<Body>,
) -> Outcome {
    let mut all = Attributes::new();
    attributes.iter().for_each(|(name, value)| all.append(name, *value));
    let context = Context::new("id-7", attempt, Default::default());
    let message = Message { attributes: all, body: body.into(), context: context.clone() };
    let result = receiver.receive(message).await;
    Outcome { result, published: context.outbox().take(), usage: context.usage() }
}

/// Pairs as [`Outcome::sent`] tells them.
pub fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Keeps what guests write.
#[derive(Default)]
pub struct Lines(Mutex<Vec<String>>);

impl Lines {
    /// All lines so far, each as `Level context: text`.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl LogSink for Lines {
    fn record(&self, record: &LogRecord<'_>) {
        self.0.lock().unwrap().push(format!("{:?} {}: {}", record.level, record.context, record.text));
    }
}
