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
//! What it publishes is held back until it has returned ok. Any error that it passes on with `?` is a retry;
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

/// What the README shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// What is generated of the contract, for what this crate has no words for.
#[allow(missing_docs, unreachable_pub)] // Generated.
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "wasmpost:messaging/plugin",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export",
    });

    /// Has a function process the message of a call.
    #[doc(hidden)]
    pub fn receive(
        message: &wasmpost::messaging::types::Message,
        receive: impl FnOnce(crate::Message<'_>) -> Result<(), crate::Failure>,
    ) -> Result<(), wasmpost::messaging::types::Failure> {
        // A panic ends the instance without a word; the log then tells why.
        std::panic::set_hook(Box::new(|panic| crate::log::error("panic", panic)));
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
