//! `wasi:config`: the configuration that the operator gave to the receiver.

use crate::guest::StoreState;
use crate::guest::bindings::wasi::config::store::{Error, Host};

impl Host for StoreState {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        Ok(Ok(self.shared.config.get(&key).cloned()))
    }

    /// In the order of the keys, so that a guest sees the same on every delivery.
    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        Ok(Ok(self.shared.config.iter().map(|(key, value)| (key.clone(), value.clone())).collect()))
    }
}
