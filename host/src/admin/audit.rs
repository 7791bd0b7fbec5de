//! The audit: who changed something, and when. The last entries are kept, and each is logged.

use std::collections::VecDeque;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;
use wasmpost_delivery::Clock;
use wasmpost_msg::cut;

use super::pass::Pass;

/// How many entries are kept.
const ENTRIES_MAX: usize = 1000;
/// How much is kept of the thing that an entry names, in bytes.
const THING_BYTES_MAX: usize = 512;

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Entry {
    /// Its number, from 1.
    pub(super) number: u64,
    /// When, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// The name of the token.
    pub(super) by: String,
    /// The action.
    pub(super) action: &'static str,
    /// The thing that it was done to.
    pub(super) thing: String,
    /// The tenant of the thing.
    pub(super) tenant: Option<String>,
}

/// The last entries.
#[derive(Default)]
pub(super) struct Audit(Mutex<VecDeque<Entry>>);

impl Audit {
    /// Notes what the holder of a pass does.
    pub(super) fn note(&self, pass: &Pass, thing: &str, tenant: Option<&str>) {
        let action = pass.action().as_str();
        let by = pass.name().to_owned();
        let thing = cut(thing, THING_BYTES_MAX).into_owned();
        tracing::info!(by, action, thing, "changed through the admin listener");
        let mut entries = self.0.lock();
        let number = entries.back().map_or(1, |last| last.number + 1);
        let tenant = tenant.map(str::to_owned);
        entries.push_back(Entry { number, at_ms: Clock::system().now().0, by, action, thing, tenant });
        if entries.len() > ENTRIES_MAX {
            entries.pop_front();
        }
    }

    /// At most `max` entries before a number that the holder of a pass may see, the last first.
    pub(super) fn before(&self, pass: &Pass, number: u64, max: usize) -> Vec<Entry> {
        let entries = self.0.lock();
        let seen = entries.iter().rev().filter(|entry| entry.number < number);
        seen.filter(|entry| pass.sees_tenant(entry.tenant.as_deref())).take(max).cloned().collect()
    }
}
