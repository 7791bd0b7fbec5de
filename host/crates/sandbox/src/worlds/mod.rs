//! The worlds that a component may implement to receive messages: one file for each.

mod http;
mod http_async;
mod messaging;
mod plugin;
mod plugin_async;
mod plugin_batch;
mod response;
mod run;
mod run_async;
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
    /// Its name.
    pub(crate) name: &'static str,
    /// The interface that a component of this world exports. A version of two parts stands for all that begin with it.
    pub(crate) export: &'static str,
    /// Whether an instance can process one message after another.
    pub(crate) is_reusable: bool,
    /// Whether an instance can process several messages at a time.
    pub(crate) takes_several: bool,
    /// Whether an instance gets several messages in one call.
    pub(crate) takes_batches: bool,
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

    /// Has an instance process several messages, which have the numbers from `first` on.
    async fn call_batch(
        &self,
        _store: &mut Store<StoreState>,
        _instance: &Instance,
        _first: u32,
        _count: u32,
    ) -> wasmtime::Result<Vec<Result<(), Failure>>> {
        Err(wasmtime::Error::msg("world takes one message in a call"))
    }

    /// Has an instance process the message of its store.
    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>>;
}

/// Every world, in the order in which they are looked for.
pub(crate) const WORLDS: &[World] = &[
    World::new("wasmpost:messaging/plugin@0.1.0", "wasmpost:messaging/receiver@0.1.0", plugin::bind),
    World {
        takes_batches: true,
        ..World::new("wasmpost:messaging/batch-plugin@0.1.0", plugin_batch::EXPORT, plugin_batch::bind)
    },
    World {
        takes_several: true,
        ..World::once("wasmpost:messaging/plugin-async@0.1.0", plugin_async::EXPORT, plugin_async::bind)
    },
    World::new(
        "wasi:messaging/messaging-core@0.2.0-draft",
        "wasi:messaging/incoming-handler@0.2.0-draft",
        messaging::bind,
    ),
    World::new("wasmcloud:messaging@0.2.0", "wasmcloud:messaging/handler@0.2.0", wasmcloud::bind),
    World::new("fermyon:spin/redis-trigger", "fermyon:spin/inbound-redis", spin::bind),
    World::once("spin:up/redis-trigger@4.0.0", spin::EXPORT_ASYNC, spin::bind_async),
    World::new("wasi:http/proxy@0.2", "wasi:http/incoming-handler@0.2", http::bind),
    World::once("wasi:http/service@0.3", "wasi:http/handler@0.3", http_async::bind),
    World::once("wasi:cli/command@0.2", "wasi:cli/run@0.2", run::bind),
    World::once("wasi:cli/command@0.3", "wasi:cli/run@0.3", run_async::bind),
];

impl World {
    const fn new(
        name: &'static str,
        export: &'static str,
        bind: fn(&InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>>,
    ) -> Self {
        Self { name, export, is_reusable: true, takes_several: false, takes_batches: false, bind }
    }

    /// A world whose instances process one message each: a command ends with it, and what an asynchronous one left
    /// running would go on with the next message.
    const fn once(
        name: &'static str,
        export: &'static str,
        bind: fn(&InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>>,
    ) -> Self {
        Self { is_reusable: false, ..Self::new(name, export, bind) }
    }

    /// Whether an export of this name makes a component one of this world. Drafts of a version are other interfaces.
    pub(crate) fn is_told_by(&self, export: &str) -> bool {
        let has_two_parts = self.export.ends_with("@0.2") || self.export.ends_with("@0.3");
        let is_patch = |rest: &str| has_two_parts && rest.starts_with('.') && !rest.contains('-');
        export.strip_prefix(self.export).is_some_and(|rest| rest.is_empty() || is_patch(rest))
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
        assert_eq!(told_by("wasi:cli/run@0.3.0"), ["wasi:cli/command@0.3"]);
        let others = ["wasi:cli/run@0.3.0-rc-2026-03-15", "wasi:cli/run@0.20.0", "wasi:cli/run"];
        for export in others.into_iter().chain(["wasmcloud:messaging/handler@0.2.1"]) {
            assert!(told_by(export).is_empty(), "{export}");
        }
    }

    #[test]
    fn a_world_goes_by_its_name_and_by_its_interface() {
        let called = |wanted| WORLDS.iter().filter(|world| world.is_called(wanted)).count();
        for wanted in [
            "wasi:cli/run@0.3",
            "wasi:http/handler",
            "wasi:cli/command@0.2",
            "wasi:cli/run@0.2",
            "wasmpost:messaging/receiver",
        ] {
            assert_eq!(called(wanted), 1, "{wanted}");
        }
        assert_eq!(called("wasi:cli"), 0);
    }
}
