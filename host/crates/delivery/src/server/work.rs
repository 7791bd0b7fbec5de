//! The way of deliveries that were pulled: each alone, or several in a call.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::backlog::Backlog;
use super::batch::Batches;
use crate::lease::Delivery;

/// The way of deliveries that were pulled.
pub(super) enum Work {
    /// Each is handed over alone.
    Single(Arc<Backlog>),
    /// They are gathered, and handed over several in a call.
    Batches(Arc<Batches>),
}

impl Work {
    pub(super) fn push(&self, deliveries: Vec<Delivery>, slots: OwnedSemaphorePermit) {
        match self {
            Self::Single(backlog) => backlog.push(deliveries, slots),
            Self::Batches(batches) => batches.push(deliveries, slots),
        }
    }

    /// Pulls nothing from now on, because messages come one at a time, each after a pause.
    pub(super) fn pause(&self) {
        if let Self::Single(backlog) = self {
            backlog.pause();
        }
    }

    /// Pulls again when slots become free.
    pub(super) fn resume(&self) {
        if let Self::Single(backlog) = self {
            backlog.resume();
        }
    }

    /// Waits until what was gathered has waited long enough.
    pub(super) async fn due(&self) {
        match self {
            Self::Single(_) => std::future::pending().await,
            Self::Batches(batches) => batches.due().await,
        }
    }

    /// Hands over what has waited long enough.
    pub(super) fn release(&self) {
        if let Self::Batches(batches) = self {
            batches.release();
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        if let Self::Batches(batches) = self {
            batches.release_all();
        }
    }
}
