//! Working off a batch: its messages are handed over in one call, and each is settled by its own result.

use std::time::Instant;

use wasmpost_msg::{Context, Usage};

use super::super::attempt::Worker;
use super::super::keeper::Lease;
use super::halves::hand_over;
use super::keeping::Keeping;
use super::{Gathered, Hold};
use crate::lease::Delivery;
use crate::timestamp::Timestamp;

/// One message of a batch.
pub(super) struct Member {
    pub(super) delivery: Delivery,
    pub(super) context: Context,
    /// Its place in the batch.
    pub(super) place: usize,
    /// Whether the attempt counts, even if the process ends with it.
    pub(super) has_begun: bool,
    /// The resources that calls used which failed as a whole, as far as they are its own part.
    pub(super) spent: Usage,
    pub(super) hold: Hold,
}

/// A batch at work.
pub(super) struct Batch<'a> {
    pub(super) worker: &'a Worker,
    pub(super) keeping: Keeping,
    pub(super) started_at: Timestamp,
    pub(super) started: Instant,
}

/// Takes every message of a batch to its end.
pub(super) async fn work_off(worker: &Worker, gathered: Vec<Gathered>) {
    let leases = gathered.iter().map(|Gathered { delivery, context, .. }| Lease {
        renewer: delivery.lease.renewer(),
        delivery: context.clone(),
    });
    let keeping = Keeping::new(&worker.keeper, leases);
    let started_at = worker.options.clock.now();
    let batch = Batch { worker, keeping, started_at, started: Instant::now() };
    let member = |(place, Gathered { delivery, context, hold, .. })| Member {
        delivery,
        context,
        place,
        has_begun: false,
        spent: Usage::default(),
        hold,
    };
    let members = gathered.into_iter().enumerate().map(member).collect();
    batch.keeping.keep_while(hand_over(&batch, members)).await;
}
