//! Places for instances: never more than there are, and nobody waits for one that an idle instance holds.

use std::sync::Arc;

use shuttle::future::block_on;

use crate::rooms::Places;
use crate::scheduled::scheduled;
use crate::sync::{AtomicUsize, Ordering, thread};

/// An instance that is counted while it lives.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(count: &Arc<AtomicUsize>, max: usize) -> Self {
        let now = count.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(now <= max, "{now} instances in {max} places");
        Self(Arc::clone(count))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Does with a place what a receiver does for each message.
fn receive(places: &Places<Live>, receiver: u64, count: &Arc<AtomicUsize>, max: usize) {
    let found = places.warm(receiver).or_else(|| places.free());
    let mut place = match found {
        Some(place) => place,
        None => block_on(places.wait()).expect("there will be a place"),
    };
    place.live.get_or_insert_with(|| Live::new(count, max));
    thread::yield_now();
    places.keep(receiver, place);
}

fn many_receivers(max: usize) {
    scheduled(move || {
        let places = Arc::new(Places::new(max as u32));
        let count = Arc::new(AtomicUsize::new(0));
        let receivers = (0..3).map(|receiver| {
            let places = Arc::clone(&places);
            let count = Arc::clone(&count);
            let work = move || {
                for _ in 0..2 {
                    receive(&places, receiver, &count, max);
                }
                if receiver == 0 {
                    places.forget(receiver);
                }
            };
            thread::Builder::new().spawn(work).unwrap()
        });
        let receivers: Vec<_> = receivers.collect();
        receivers.into_iter().for_each(|receiver| receiver.join().unwrap());
        while places.evict(|_| true) {}
        assert_eq!(count.load(Ordering::SeqCst), 0, "nothing lives on");
        assert!((0..max).map(|_| places.free()).all(|place| place.is_some()), "all places are free again");
    });
}

pub(crate) fn receivers_that_share_one_place_all_get_it() {
    many_receivers(1);
}

pub(crate) fn receivers_that_share_two_places_all_get_one() {
    many_receivers(2);
}
