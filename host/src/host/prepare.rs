//! Checks of a configuration that need no connection to a broker. `run` begins with them, and `check` does nothing
//! else.

use std::sync::Arc;

use wasmpost_sandbox::{Sandbox, TracingSink};

use super::components::{Components, load_components};
use super::error::HostError;
use super::served::wasm_receiver;
use crate::config::Config;

/// The engine and the components of a configuration, ready to serve.
pub struct Prepared {
    /// The engine.
    pub sandbox: Arc<Sandbox>,
    /// The components that receivers name.
    pub components: Components,
}

/// Checks all of a configuration that can be checked without connecting to a broker, and loads its components.
pub async fn prepare(config: &Config) -> Result<Prepared, HostError> {
    config.obsolete.iter().for_each(|text| tracing::warn!("{text}"));
    if config.receivers.is_empty() && config.ingress.is_empty() {
        return Err(HostError::NoReceivers);
    }
    for one in &config.ingress {
        let address = one.listener.address;
        one.listener.check().map_err(|source| HostError::Ingress { address, source })?;
    }
    for (name, address) in config.brokers_in_use() {
        let refused = |source| HostError::Access { broker: name.clone(), source };
        address.check_access().await.map_err(refused)?;
    }
    for receiver in &config.receivers {
        let Some(address) = config.brokers.get(&receiver.broker) else { continue };
        let refused = |source| HostError::Queue { receiver: receiver.name.clone(), source };
        (address.scheme()?.check_queue)(&receiver.queue).map_err(refused)?;
    }
    let sandbox = Sandbox::new(config.engine.clone())?;
    let components = {
        let sandbox = Arc::clone(&sandbox);
        let config = config.clone();
        let loading = tokio::task::spawn_blocking(move || load_components(&sandbox, &config));
        loading.await.map_err(|error| HostError::Threads(std::io::Error::other(error)))??
    };
    for receiver in &config.receivers {
        let Some(loaded) = components.get(&receiver.component) else { continue };
        let made = wasm_receiver(&sandbox, loaded, receiver, None, Arc::new(TracingSink));
        made.map(drop).map_err(|source| HostError::of_component(receiver, source))?;
    }
    Ok(Prepared { sandbox, components })
}
