//! Keeps the messages of each call, and publishes through those of the call before.

use std::cell::RefCell;

use exports::wasmpost::messaging::receiver_batch::{Failure, Guest, Message};

wit_bindgen::generate!({ path: "../../../wit", world: "wasmpost:messaging/batch-plugin", generate_all });

thread_local! {
    static KEPT: RefCell<Vec<Message>> = const { RefCell::new(Vec::new()) };
}

struct Keeping;

export!(Keeping);

impl Guest for Keeping {
    fn receive_batch(messages: Vec<Message>) -> Vec<Result<(), Failure>> {
        let results = messages.iter().map(|message| {
            match message.attribute("Do").as_deref() {
                Some("use") => {
                    let used =
                        KEPT.with_borrow(|kept| kept.first().map(|message| message.publish("out", &[], b"late")));
                    used.map(|used| log(&format!("{used:?}")));
                }
                // Handles are kept for good.
                _ => {}
            }
            Ok(())
        });
        let results = results.collect();
        KEPT.with_borrow_mut(|kept| kept.extend(messages));
        results
    }
}

fn log(text: &str) {
    wasi::logging::logging::log(wasi::logging::logging::Level::Info, "kept", text);
}
