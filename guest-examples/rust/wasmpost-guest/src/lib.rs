//! Receivers of messages as WebAssembly components, for the host wasmpost.
//!
//! A receiver is a function that is given a [`Message`], and [`receiver!`] makes a component of it:
//!
//! ```
//! use wasmpost_guest::{Failure, Message, OrFail, publish, receiver};
//!
//! receiver!(receive);
//!
//! fn receive(mut message: Message) -> Result<(), Failure> {
//!     let text = String::from_utf8(message.body()).or_reject()?;
//!     publish("out", &message.attributes(), text.to_uppercase())?;
//!     Ok(())
//! }
//! ```
//!
//! A receiver of batches gets several messages in one call, and returns one result for each. [`batch!`] makes a component
//! of it:
//!
//! ```
//! use wasmpost_guest::{Failure, Message, batch};
//!
//! batch!(receive);
//!
//! fn receive(messages: Vec<Message>) -> Vec<Result<(), Failure>> {
//!     // One transaction for all of them would go here.
//!     messages.into_iter().map(|message| Ok(message.publish("out", &[], message.id())?)).collect()
//! }
//! ```
//!
//! Messages that it publishes are held back until it has returned ok. Any error that it passes on with `?` is a retry;
//! [`OrFail`] and [`Failure`] say otherwise. A panic ends the instance, and its text is in the log of the host.
//!
//! The crate is compiled to `wasm32-unknown-unknown`, as `crate-type = ["cdylib"]`. A component imports what it uses of
//! the host and no more.

mod config;
mod failure;
pub mod log;
mod message;
mod publish;

pub use config::{ConfigError, config};
pub use failure::{Failure, OrFail};
pub use message::{Attributes, Message};
pub use publish::{MessageWriter, PublishError, publish};

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The bindings that are generated from the contract, for calls that this crate does not wrap.
#[allow(missing_docs, unreachable_pub)] // Generated.
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "wasmpost:messaging/plugin",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export",
    });

    /// The same for receivers of batches.
    pub mod batch {
        wit_bindgen::generate!({
            path: "wit",
            world: "wasmpost:messaging/batch-plugin",
            with: {
                "wasmpost:messaging/types@0.1.0": crate::bindings::wasmpost::messaging::types,
                "wasmpost:messaging/topic@0.1.0": crate::bindings::wasmpost::messaging::topic,
                "wasi:logging/logging@0.1.0-draft": crate::bindings::wasi::logging::logging,
                "wasi:config/store@0.2.0-rc.1": crate::bindings::wasi::config::store,
            },
            pub_export_macro: true,
            export_macro_name: "export_batch",
        });
    }

    /// Has a function process the messages of a call.
    #[doc(hidden)]
    pub fn receive_batch<'a>(
        messages: &'a [wasmpost::messaging::types::Message],
        receive: impl FnOnce(Vec<crate::Message<'a>>) -> Vec<Result<(), crate::Failure>>,
    ) -> Vec<Result<(), wasmpost::messaging::types::Failure>> {
        tell_panics();
        let results = receive(messages.iter().map(crate::Message::new).collect());
        results.into_iter().map(|result| result.map_err(Into::into)).collect()
    }

    /// A panic ends the instance without a word; the log then tells why.
    fn tell_panics() {
        std::panic::set_hook(Box::new(|panic| crate::log::error("panic", panic)));
    }

    /// Has a function process the message of a call.
    #[doc(hidden)]
    pub fn receive(
        message: &wasmpost::messaging::types::Message,
        receive: impl FnOnce(crate::Message<'_>) -> Result<(), crate::Failure>,
    ) -> Result<(), wasmpost::messaging::types::Failure> {
        tell_panics();
        receive(crate::Message::new(message)).map_err(Into::into)
    }
}

/// Makes a component of a function `fn(Message) -> Result<(), Failure>`. Once in a crate.
#[macro_export]
macro_rules! receiver {
    ($receive:path) => {
        const _: () = {
            struct Receiver;

            impl $crate::bindings::exports::wasmpost::messaging::receiver::Guest for Receiver {
                fn receive(
                    message: &$crate::bindings::wasmpost::messaging::types::Message,
                ) -> ::core::result::Result<(), $crate::bindings::wasmpost::messaging::types::Failure> {
                    $crate::bindings::receive(message, $receive)
                }
            }

    $crate::bindings::export!(Receiver with_types_in $crate::bindings);
        };
    };
}

/// Makes a component of a function `fn(Vec<Message>) -> Vec<Result<(), Failure>>`, which returns one result for each
/// message, in their order. Once in a crate, in place of [`receiver!`].
#[macro_export]
macro_rules! batch {
    ($receive:path) => {
        const _: () = {
            struct Receiver;

            impl $crate::bindings::batch::exports::wasmpost::messaging::receiver_batch::Guest for Receiver {
                fn receive_batch(
                    messages: ::std::vec::Vec<$crate::bindings::wasmpost::messaging::types::Message>,
                ) -> ::std::vec::Vec<::core::result::Result<(), $crate::bindings::wasmpost::messaging::types::Failure>>
                {
                    $crate::bindings::receive_batch(&messages, $receive)
                }
            }

    $crate::bindings::batch::export_batch!(Receiver with_types_in $crate::bindings::batch);
        };
    };
}
