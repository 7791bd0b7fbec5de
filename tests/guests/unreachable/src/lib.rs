//! Traps at once.

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/plugin", generate_all });

struct Unreachable;

export!(Unreachable);

impl Guest for Unreachable {
    fn receive(_: &Message) -> Result<(), Failure> {
        #[cfg(target_family = "wasm")]
        core::arch::wasm32::unreachable();
        #[cfg(not(target_family = "wasm"))]
        unreachable!("it is run as WebAssembly only")
    }
}
