//! The process itself as it is written.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use wasmpost_sandbox::{Compiler, EngineOptions, LoadLimits, Profile, Size, Span};

use super::raw::{GRACE, Source};
use super::word::HostId;
use super::{default_cache_dir, default_id};

/// The process itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHost {
    /// The name by which this host is known among those that share queues; the name of the machine and the number of the
    /// process unless given.
    id: Option<HostId>,
    /// Whether tenants may attack each other: guests leave nothing behind for the next, and see coarse clocks, and the host
    /// gives up rights that it does not need, for which it needs landlock and seccomp. Each tenant then needs a quota of
    /// messages.
    hostile: bool,
    /// How accesses of guests to memory are kept in bounds: by guard pages, or by explicit checks.
    profile: RawProfile,
    /// How many instances can be live at a time.
    instances: std::num::NonZeroU32,
    /// The most memory that any delivery can be allowed.
    memory_max: Size,
    /// The stack of a guest.
    stack: Size,
    /// The directory of compiled components, which are kept between runs, relative to this file; the user's cache
    /// unless given.
    cache_dir: Option<PathBuf>,
    /// Limits for loading components: their size and parts, and the resources to compile one.
    load: LoadLimits,
    /// How long messages in flight may go on once the host is told to stop.
    grace: Span,
}

/// The engine that runs components.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawEngine {
    /// Obsolete, and without effect: asynchronous components load unless the host is hostile.
    component_model_async: Option<bool>,
}

impl RawEngine {
    /// Obsolete keys, which are accepted without effect, and what to do about each.
    pub(super) fn obsolete(&self) -> Vec<String> {
        let text = "component_model_async under [engine] is obsolete and has no effect: asynchronous components load \
                    unless hostile = true; remove it";
        self.component_model_async.map(|_| text.to_owned()).into_iter().collect()
    }
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawProfile {
    #[default]
    Guard,
    Bounds,
}

impl Default for RawHost {
    fn default() -> Self {
        let engine = EngineOptions::default();
        Self {
            id: None,
            hostile: engine.hostile,
            profile: RawProfile::Guard,
            instances: std::num::NonZeroU32::new(engine.pool_instances).unwrap_or(std::num::NonZeroU32::MIN),
            memory_max: engine.memory_max,
            stack: engine.stack,
            cache_dir: None,
            load: engine.load,
            grace: Span(GRACE),
        }
    }
}

impl RawHost {
    pub(super) fn engine(&self, source: &Source<'_>) -> EngineOptions {
        let given = self.cache_dir.as_deref().map(|directory| source.resolved(directory));
        EngineOptions {
            pool_instances: self.instances.get(),
            memory_max: self.memory_max,
            stack: self.stack,
            cache_dir: given.or_else(default_cache_dir),
            hostile: self.hostile,
            profile: match self.profile {
                RawProfile::Guard => Profile::Guard,
                RawProfile::Bounds => Profile::Bounds,
            },
            load: self.load,
            compiler: Compiler::this_program(),
            ..EngineOptions::default()
        }
    }

    pub(super) fn is_hostile(&self) -> bool {
        self.hostile
    }

    pub(super) fn id(&self) -> String {
        self.id.as_ref().map_or_else(default_id, |id| id.0.clone())
    }

    pub(super) fn grace(&self) -> Duration {
        self.grace.0
    }
}
