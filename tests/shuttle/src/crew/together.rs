//! Messages that share an instance: whoever drives leaves, and another drives on, so that every message is done.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use shuttle::future::block_on;
use wasmpost_msg::ReceiveError;

use super::roster::{Outcome, Roster, Turn};
use crate::scheduled::scheduled;
use crate::sync::{Mutex, thread};

/// An instance that finishes one message each time it is driven.
struct Instance {
    roster: Arc<Roster>,
    at_work: Mutex<Vec<u32>>,
}

impl Instance {
    fn drive(&self) {
        let next = self.at_work.lock().pop();
        if let Some(number) = next {
            let result = Ok(());
            self.roster.finish(number, Outcome { result, published_bytes: 0, host_work: 0, cpu: Duration::ZERO });
        }
    }

    /// The way of a message through the instance, as one that shares it goes it.
    fn receive(&self) -> Option<Result<(), ReceiveError>> {
        let number = self.roster.join(3, 9)?;
        self.at_work.lock().insert(0, number);
        // A call that came while nothing looked must be seen by the one that drives.
        std::task::Waker::from(Arc::clone(&self.roster)).wake();
        let outcome = block_on(poll_fn(|context| {
            let mut has_driven = false;
            loop {
                match self.roster.turn(number, context.waker()) {
                    Turn::Leave(outcome) => return Poll::Ready(outcome),
                    Turn::Drive if !has_driven => self.drive(),
                    Turn::Drive | Turn::Wait => return Poll::Pending,
                }
                has_driven = true;
            }
        }));
        self.roster.leave(number);
        Some(outcome.result)
    }
}

pub(crate) fn every_message_is_done_whoever_leaves_first() {
    scheduled(|| {
        let roster = Arc::new(Roster::default());
        let instance = Arc::new(Instance { roster, at_work: Mutex::default() });
        let messages = (0..3).map(|_| {
            let instance = Arc::clone(&instance);
            thread::Builder::new().spawn(move || instance.receive()).unwrap()
        });
        let messages: Vec<_> = messages.collect();
        for message in messages {
            assert_eq!(message.join().unwrap(), Some(Ok(())));
        }
    });
}

pub(crate) fn an_instance_that_ends_lets_everybody_go() {
    scheduled(|| {
        let roster = Arc::new(Roster::default());
        // It finishes nothing: all wait until it ends.
        let waiting = (0..2).filter_map(|_| roster.join(2, 9)).map(|number| {
            let roster = Arc::clone(&roster);
            let wait = move || {
                let outcome = block_on(poll_fn(|context| match roster.turn(number, context.waker()) {
                    Turn::Leave(outcome) => Poll::Ready(outcome),
                    Turn::Drive | Turn::Wait => Poll::Pending,
                }));
                roster.leave(number);
                outcome.result
            };
            thread::Builder::new().spawn(wait).unwrap()
        });
        let waiting: Vec<_> = waiting.collect();
        roster.end(None, Some(&ReceiveError::retry("it trapped")));
        for message in waiting {
            assert!(message.join().unwrap().is_err());
        }
        assert!(roster.join(2, 9).is_none(), "nobody joins an instance that ended");
    });
}
