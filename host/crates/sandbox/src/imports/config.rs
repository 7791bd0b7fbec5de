//! `wasi:config`: the configuration that the operator gave to the receiver.

use crate::guest::StoreState;
use crate::guest::bindings::wasi::config::store::{Error, Host};

impl Host for StoreState {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        let value = self.shared.config.get(&key);
        self.delivery.work.call(key.len() + value.map_or(0, String::len));
        Ok(Ok(value.cloned()))
    }

    /// In the order of the keys, so that a guest sees the same on every delivery.
    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        let config = &self.shared.config;
        self.delivery.work.call(config.iter().map(|(key, value)| 1 + key.len() + value.len()).sum());
        Ok(Ok(config.iter().map(|(key, value)| (key.clone(), value.clone())).collect()))
    }
}
