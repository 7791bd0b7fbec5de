//! The worlds that a component may implement to receive messages: one file for each.

mod http;
mod messaging;
mod plugin;
mod plugin_async;
mod run;
mod spin;
mod wasmcloud;

use std::sync::Arc;

use async_trait::async_trait;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre, Linker};

use crate::guest::StoreState;
use crate::guest::bindings::wasmpost::messaging::types::Failure;
pub(crate) use plugin_async::{PluginAsync, Receive};

/// A world by which components receive messages.
pub(crate) struct World {
    /// What it is called.
    pub(crate) name: &'static str,
    /// The interface that a component of this world exports. A version of two parts stands for all that begin with it.
    pub(crate) export: &'static str,
    /// Whether an instance can process one message after another.
    pub(crate) is_reusable: bool,
    /// Whether an instance can process several messages at a time.
    pub(crate) takes_several: bool,
    bind: fn(&InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>>,
}

/// How the messages of one component are handed to its instances, for as long as it is mapped.
#[async_trait]
pub(crate) trait Entry: Send + Sync {
    /// Puts what the instance finds when it starts into its store.
    fn prepare(&self, _: &mut StoreState) {}

    /// How an instance processes several messages at a time, if its world has that.
    fn together(self: Arc<Self>) -> Option<Arc<PluginAsync>> {
        None
    }

    /// Has an instance process the message of its store.
    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>>;
}

/// Every world, in the order in which they are looked for.
pub(crate) const WORLDS: &[World] = &[
    World::new("wasmpost:messaging/plugin@0.1.0", "wasmpost:messaging/receiver@0.1.0", plugin::bind),
    World {
        is_reusable: false,
        takes_several: true,
        ..World::new("wasmpost:messaging/plugin-async@0.1.0", plugin_async::EXPORT, plugin_async::bind)
    },
    World::new(
        "wasi:messaging/messaging-core@0.2.0-draft",
        "wasi:messaging/incoming-handler@0.2.0-draft",
        messaging::bind,
    ),
    World::new("wasmcloud:messaging@0.2.0", "wasmcloud:messaging/handler@0.2.0", wasmcloud::bind),
    World::new("fermyon:spin/redis-trigger", "fermyon:spin/inbound-redis", spin::bind),
    World::new("wasi:http/proxy@0.2", "wasi:http/incoming-handler@0.2", http::bind),
    World { is_reusable: false, ..World::new("wasi:cli/command@0.2", "wasi:cli/run@0.2", run::bind) },
];

impl World {
    const fn new(
        name: &'static str,
        export: &'static str,
        bind: fn(&InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>>,
    ) -> Self {
        Self { name, export, is_reusable: true, takes_several: false, bind }
    }

    /// Whether an export of this name makes a component one of this world.
    pub(crate) fn is_told_by(&self, export: &str) -> bool {
        export == self.export
            || export
                .strip_prefix(self.export)
                .is_some_and(|rest| self.export.ends_with("@0.2") && rest.starts_with('.'))
    }

    /// Whether somebody who says `wanted` means this world: by its own name or that of its interface, with or without
    /// the version.
    pub(crate) fn is_called(&self, wanted: &str) -> bool {
        let unversioned = |name: &'static str| name.split_once('@').map_or(name, |(name, _)| name);
        [self.name, self.export].iter().any(|name| wanted == *name || wanted == unversioned(name))
    }

    pub(crate) fn bind(&self, component: &InstancePre<StoreState>) -> wasmtime::Result<Arc<dyn Entry>> {
        (self.bind)(component).map(Arc::from)
    }
}

/// Offers what components of these worlds import beside what every guest may.
pub(crate) fn add_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    messaging::add_to_linker(linker)?;
    wasmcloud::add_to_linker(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_by(export: &str) -> Vec<&'static str> {
        WORLDS.iter().filter(|world| world.is_told_by(export)).map(|world| world.name).collect()
    }

    #[test]
    fn any_patch_of_a_world_of_wasi_is_the_same_world() {
        for export in ["wasi:cli/run@0.2.0", "wasi:cli/run@0.2.12"] {
            assert_eq!(told_by(export), ["wasi:cli/command@0.2"], "{export}");
        }
        for export in ["wasi:cli/run@0.3.0", "wasi:cli/run@0.20.0", "wasi:cli/run", "wasmcloud:messaging/handler@0.2.1"]
        {
            assert!(told_by(export).is_empty(), "{export}");
        }
    }

    #[test]
    fn a_world_goes_by_its_name_and_by_its_interface() {
        let called = |wanted| WORLDS.iter().filter(|world| world.is_called(wanted)).count();
        for wanted in ["wasi:cli/run", "wasi:cli/command@0.2", "wasi:cli/run@0.2", "wasmpost:messaging/receiver"] {
            assert_eq!(called(wanted), 1, "{wanted}");
        }
        assert_eq!(called("wasi:cli"), 0);
    }
}
