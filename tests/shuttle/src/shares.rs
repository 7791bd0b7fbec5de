//! The share of a tenant: no more deliveries begin than may, and waiting in vain takes nobody's place.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::poll;
use shuttle::future::block_on;
use wasmpost_msg::Usage;

use crate::scheduled::scheduled;
use crate::share::{Ending, Share};
use crate::sync::{AtomicUsize, Ordering, thread};

pub(crate) fn no_more_enter_than_may_and_all_are_counted() {
    scheduled(|| {
        let share = Arc::new(Share::new(2, None));
        let inside = Arc::new(AtomicUsize::new(0));
        let workers = (0..4).map(|number| {
            let share = Arc::clone(&share);
            let inside = Arc::clone(&inside);
            let work = move || {
                if number == 0 {
                    give_up(&share);
                }
                let slot = block_on(share.enter());
                let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                assert!(now <= 2 && slot.is_some(), "{now} are inside");
                thread::yield_now();
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(slot);
                let usage = Usage { cpu: Duration::from_millis(1), ..Usage::default() };
                let ending = if number % 2 == 0 { Ending::Acked } else { Ending::Failed };
                share.record(ending, &usage, 1);
            };
            thread::Builder::new().spawn(work).unwrap()
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        let used = share.used();
        assert_eq!((used.deliveries, used.acked, used.failed), (4, 2, 2));
        assert_eq!((used.cpu, used.published_messages), (Duration::from_millis(4), 2));
    });
}

/// Asks for a slot and does not wait for it.
fn give_up(share: &Share) {
    block_on(async {
        let mut entering = pin!(share.enter());
        if let Poll::Ready(slot) = poll!(entering.as_mut()) {
            drop(slot);
        }
        thread::yield_now();
    });
}
