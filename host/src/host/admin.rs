//! The admin listener of a host, and what it is told of components.

use std::sync::Arc;

use wasmpost_sandbox::LoadedComponent;

use super::{Additions, HostError};
use crate::admin::{self, Admin};
use crate::config::Config;
use crate::kept::KeptLogs;
use crate::metrics::{Load, Meters};

/// How a component was loaded.
pub(super) fn load_of(loaded: &LoadedComponent) -> Load {
    if loaded.is_from_cache() { Load::Cached } else { Load::Compiled }
}

/// Opens the admin listener, if there is to be one, before components are compiled: it tells that they are.
pub(super) fn open_admin(
    config: &Config,
    additions: &Additions,
    meters: Option<&Arc<Meters>>,
    logs: &Arc<KeptLogs>,
) -> Result<Option<Admin>, HostError> {
    let (Some(admin), Some(meters)) = (&config.admin, meters) else { return Ok(None) };
    let refused = |source| HostError::Admin { address: admin.listen, source };
    let listener = match &additions.admin {
        Some(bound) => bound.try_clone(),
        None => admin::bind(admin),
    };
    let listener = listener.map_err(refused)?;
    Admin::start(admin, listener, Arc::clone(meters), Arc::clone(logs)).map(Some).map_err(refused)
}
