//! Receivers: what processes a message.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use async_trait::async_trait;
use futures::FutureExt;

use crate::error::{Disposition, Reason, ReceiveError};
use crate::message::{Batch, Message};

/// Processes a message.
///
/// Returning `Ok` says that the message has been processed. With an error the server assumes that it has not, and puts
/// it back or dead-letters it, as the error says. The body may be read until `receive` returns.
///
/// # Examples
///
/// ```
/// use async_trait::async_trait;
/// use wasmpost_msg::{Attributes, Disposition, Message, ReceiveError, Receiver};
///
/// /// Takes bodies of at most so many bytes.
/// struct Short(usize);
///
/// #[async_trait]
/// impl Receiver for Short {
///     async fn receive(&self, mut message: Message) -> Result<(), ReceiveError> {
///         let body = message.body.collect(self.0).await.map_err(|error| ReceiveError::reject(error.to_string()))?;
///         println!("{} bytes", body.len());
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(Short(5).receive(Message::new(Attributes::new(), "hello")).await, Ok(()));
/// let error = Short(4).receive(Message::new(Attributes::new(), "hello")).await.unwrap_err();
/// assert_eq!(error.disposition(), Disposition::Reject);
/// # }
/// ```
#[async_trait]
pub trait Receiver: Send + Sync {
    /// Processes one message.
    ///
    /// # Errors
    ///
    /// The [`Disposition`](crate::Disposition) of the error says how to settle the message: deliver it again, not
    /// before a time, or never. An error without more is [`ReceiveError::retry`].
    async fn receive(&self, message: Message) -> Result<(), ReceiveError>;

    /// Processes several messages in one call, and returns one result for each, in their order. A receiver that has no
    /// better way processes one after the other.
    ///
    /// # Errors
    ///
    /// The call failed as a whole, which is the fault of none of the messages in particular, nor of all. A server hands
    /// them over again by halves until the one at fault is alone.
    async fn receive_batch(&self, batch: Batch) -> Result<Vec<Result<(), ReceiveError>>, ReceiveError> {
        let mut results = Vec::with_capacity(batch.messages.len());
        for message in batch.messages {
            results.push(self.receive(message).await);
        }
        Ok(results)
    }
}

/// The future of `receive`.
type Receiving<'call> = Pin<Box<dyn Future<Output = Result<(), ReceiveError>> + Send + 'call>>;
/// The future of `receive_batch`.
type ReceivingBatch<'call> =
    Pin<Box<dyn Future<Output = Result<Vec<Result<(), ReceiveError>>, ReceiveError>> + Send + 'call>>;

/// An adapter to use an ordinary async function as a [`Receiver`].
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{Message, Receiver, ReceiverFunc};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let receiver = ReceiverFunc(|message: Message| async move {
///     println!("message {} at attempt {}", message.context.id(), message.context.attempt());
///     Ok(())
/// });
/// assert_eq!(receiver.receive(Message::default()).await, Ok(()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ReceiverFunc<F>(pub F);

/// A receiver whose panics become errors: a panic over one message ends neither the process nor another delivery.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::{Message, Reason, ReceiveError, Receiver, ReceiverFunc, SafeReceiver};
///
/// async fn receive(_: Message) -> Result<(), ReceiveError> {
///     panic!("a fault in the receiver")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let error = SafeReceiver(ReceiverFunc(receive)).receive(Message::default()).await.unwrap_err();
/// assert_eq!(error.reason(), Reason::Panic);
/// assert_eq!(error.text(), "receiver panicked: a fault in the receiver");
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SafeReceiver<R>(pub R);

#[async_trait]
impl<F, T> Receiver for ReceiverFunc<F>
where
    F: Fn(Message) -> T + Send + Sync,
    T: Future<Output = Result<(), ReceiveError>> + Send,
{
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        (self.0)(message).await
    }
}

#[async_trait]
impl<R: Receiver> Receiver for SafeReceiver<R> {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        // A receiver that panicked is used again for other messages; what it shares between them is its own affair.
        // The call itself is inside as well: a receiver may panic before it returns its future.
        AssertUnwindSafe(async { self.0.receive(message).await })
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| Err(panicked(&*panic)))
    }

    async fn receive_batch(&self, batch: Batch) -> Result<Vec<Result<(), ReceiveError>>, ReceiveError> {
        AssertUnwindSafe(async { self.0.receive_batch(batch).await })
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| Err(panicked(&*panic)))
    }
}

impl<R: Receiver + ?Sized> Receiver for std::sync::Arc<R> {
    // The future of the other one as it is, without another one around it.
    fn receive<'own, 'call>(&'own self, message: Message) -> Receiving<'call>
    where
        'own: 'call,
        Self: 'call,
    {
        (**self).receive(message)
    }

    fn receive_batch<'own, 'call>(&'own self, batch: Batch) -> ReceivingBatch<'call>
    where
        'own: 'call,
        Self: 'call,
    {
        (**self).receive_batch(batch)
    }
}

impl<R: Receiver + ?Sized> Receiver for Box<R> {
    // The future of the other one as it is, without another one around it.
    fn receive<'own, 'call>(&'own self, message: Message) -> Receiving<'call>
    where
        'own: 'call,
        Self: 'call,
    {
        (**self).receive(message)
    }

    fn receive_batch<'own, 'call>(&'own self, batch: Batch) -> ReceivingBatch<'call>
    where
        'own: 'call,
        Self: 'call,
    {
        (**self).receive_batch(batch)
    }
}

fn panicked(panic: &(dyn Any + Send)) -> ReceiveError {
    let text = format!("receiver panicked: {}", panic_text(panic));
    ReceiveError::new(Disposition::Retry, Reason::Panic, text)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}
