//! Receivers: what processes a message.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use async_trait::async_trait;
use futures::FutureExt;

use crate::error::{Disposition, Reason, ReceiveError};
use crate::message::Message;

/// Processes a message.
///
/// Returning `Ok` says that the message has been processed. With an error the server assumes that it has not, and puts
/// it back or dead-letters it, as the error says. The body may be read until `receive` returns.
#[async_trait]
pub trait Receiver: Send + Sync {
    /// Processes one message.
    async fn receive(&self, message: Message) -> Result<(), ReceiveError>;
}

/// What `receive` gives back.
type Receiving<'call> = Pin<Box<dyn Future<Output = Result<(), ReceiveError>> + Send + 'call>>;

/// An adapter to use an ordinary async function as a [`Receiver`].
#[derive(Debug, Clone, Copy)]
pub struct ReceiverFunc<F>(pub F);

/// A receiver whose panics become errors: a panic over one message ends neither the process nor another delivery.
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
        AssertUnwindSafe(async { self.0.receive(message).await }).catch_unwind().await.unwrap_or_else(|panic| {
            let text = format!("receiver panicked: {}", panic_text(&*panic));
            Err(ReceiveError::new(Disposition::Retry, Reason::Panic, text))
        })
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
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}
