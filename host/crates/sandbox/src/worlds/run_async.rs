//! `wasi:cli/run@0.3`: asynchronous commands. They find and leave the same as those of 0.2.

use async_trait::async_trait;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use wasmtime_wasi::p3::bindings::CommandIndices;

use super::Entry;
use super::run::{ended, prepare};
use crate::guest::StoreState;
use crate::guest::bindings::wasmpost::messaging::types::Failure;

struct Run(CommandIndices);

pub(super) fn bind(component: &InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>> {
    Ok(Box::new(Run(CommandIndices::new(component)?)))
}

#[async_trait]
impl Entry for Run {
    fn prepare(&self, state: &mut StoreState) {
        prepare(state);
    }

    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>> {
        let command = self.0.load(&mut *store, instance)?;
        let ran = store.run_concurrent(async |accessor| command.wasi_cli_run().call_run(accessor).await).await;
        ended(store.data_mut(), ran.flatten())
    }
}
