//! Instances with several messages at a time.
//!
//! An instance is a future, and the messages in it take turns to poll it: the one that has been there longest drives,
//! and its successor is woken when it leaves. So the instance is polled where its messages are, on the threads for
//! guests, and their lane pays for it; it needs no task of its own, and ends with the last message that is in it.
//!
//! The engine cannot end one call without ending the instance. A message that traps, runs into a limit or takes too long
//! therefore ends it for all; the others are given back, uncounted.

mod drive;
mod ledger;
mod receive;
mod roster;

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::setup::Setup;
use crate::engine::Place;
use crate::limits::{Meter, Metered};
use drive::{Call, Instance, out_of_time};
use roster::{Outcome, Roster, Turn};

/// The live instances of a receiver.
pub(crate) struct Crews {
    setup: Setup,
    /// How many messages may be in an instance at a time, and how many it may have until it ends.
    concurrent: u32,
    count_max: u32,
    open: Mutex<Vec<Weak<Crew>>>,
}

/// An instance, which is polled for as long as it lives.
type Living = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A live instance with its messages.
struct Crew {
    setup: Setup,
    roster: Arc<Roster>,
    meter: Arc<Meter>,
    calls: mpsc::Sender<Call>,
    /// None once it has ended.
    instance: Mutex<Option<Metered<Living>>>,
}

/// The place of a message in an instance. As a future it ends when the message is done; dropped before, it ends the
/// instance, for the engine cannot take the message out of it.
struct Seat {
    crew: Arc<Crew>,
    number: u32,
    is_done: bool,
}

impl Crews {
    pub(crate) fn new(setup: Setup, concurrent: u32, reuse: u32) -> Self {
        Self { setup, concurrent, count_max: reuse.max(concurrent), open: Mutex::default() }
    }

    /// A place in a live instance that takes one more message.
    fn join(&self) -> Option<Seat> {
        let mut open = self.open.lock();
        let mut found = None;
        open.retain(|crew| {
            let Some(crew) = crew.upgrade() else { return false };
            if found.is_none() {
                found = crew.roster.join(self.concurrent, self.count_max).map(|number| (Arc::clone(&crew), number));
            }
            crew.roster.is_open(self.count_max)
        });
        drop(open);
        found.map(|(crew, number)| Seat { crew, number, is_done: false })
    }

    /// The first place in a new instance.
    fn start(&self, place: Place) -> Option<Seat> {
        let roster = Arc::new(Roster::default());
        let meter = Meter::of_several();
        // Each call in the channel belongs to a message that has a place.
        let (calls, coming) = mpsc::channel(self.concurrent as usize);
        let instance =
            Instance { setup: self.setup.clone(), roster: Arc::clone(&roster), meter: Arc::clone(&meter), place };
        let living: Living = Box::pin(instance.live(coming));
        let number = roster.join(self.concurrent, self.count_max)?;
        let instance = Mutex::new(Some(meter.measure(living)));
        let crew = Arc::new(Crew { setup: self.setup.clone(), roster, meter, calls, instance });
        self.open.lock().push(Arc::downgrade(&crew));
        Some(Seat { crew, number, is_done: false })
    }
}

impl Crew {
    /// Polls the instance, as the one who drives.
    fn drive(self: &Arc<Self>) {
        let Some(mut place) = self.instance.try_lock() else {
            // Somebody is just leaving the wheel, which does not happen: only who is first takes it.
            Waker::from(Arc::clone(&self.roster)).wake();
            return;
        };
        let waker = Waker::from(Arc::clone(&self.roster));
        let mut is_over = true;
        if let Some(instance) = place.as_mut().filter(|_| !self.roster.is_ended()) {
            is_over = Pin::new(instance).poll(&mut Context::from_waker(&waker)).is_ready();
            let dearest = self.roster.ledger.settle(self.meter.spent());
            if let Some((number, _)) = dearest.filter(|(_, spent)| *spent >= self.setup.shared.limits.cpu.0) {
                self.roster.end(Some(number), Some(&out_of_time(&self.setup)));
            }
        }
        if is_over || self.roster.is_ended() {
            *place = None;
        }
    }
}

impl Future for Seat {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut has_driven = false;
        loop {
            match self.crew.roster.turn(self.number, context.waker()) {
                Turn::Leave(outcome) => {
                    self.is_done = true;
                    return Poll::Ready(outcome);
                }
                Turn::Drive if !has_driven => self.crew.drive(),
                Turn::Drive | Turn::Wait => return Poll::Pending,
            }
            has_driven = true;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let crew = &self.crew;
        if !self.is_done {
            crew.roster.end(Some(self.number), None);
            // If it is being polled, whoever does ends it then.
            let ended = crew.instance.try_lock().and_then(|mut instance| instance.take());
            drop(ended);
        }
        crew.roster.leave(self.number);
    }
}
