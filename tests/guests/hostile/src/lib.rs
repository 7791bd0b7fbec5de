//! The contract of hostile guests with the host, and the parts of WASI that they try. Imports that a guest does not use
//! are no imports of its component.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "hostile:guests/guest",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "export",
    default_bindings_module: "hostile",
});

pub use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};
pub use wasmpost::messaging::topic;

/// Makes a component of what a guest does with a message.
#[macro_export]
macro_rules! guest {
    ($receive:path) => {
        struct Hostile;

        hostile::export!(Hostile);

        impl hostile::Guest for Hostile {
            fn receive(message: &hostile::Message) -> Result<(), hostile::Failure> {
                $receive(message)
            }
        }
    };
}

/// Publishes what a guest found out, for the test to read.
pub fn tell(found: &str) -> Result<(), Failure> {
    topic::publish("seen", &[], found.as_bytes()).map_err(|error| Failure::Reject(format!("not told: {error:?}")))
}

/// The value that the operator set under a name.
pub fn configured(name: &str) -> Option<String> {
    wasi::config::store::get(name).ok().flatten()
}

/// The number that the operator set under a name.
pub fn configured_number(name: &str) -> u64 {
    configured(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}
