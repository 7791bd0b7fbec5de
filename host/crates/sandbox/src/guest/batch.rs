//! The messages of a call that has several.

use std::sync::Arc;

use bytes::Bytes;
use wasmpost_msg::{Attributes, Context};

use super::delivery::DeliveryState;
use super::state::Shared;

/// The messages of the current call, by their numbers. Those of the last call are used again, as an instance is.
#[derive(Default)]
pub(crate) struct Members {
    /// The number of the first one.
    first: u32,
    /// How many belong to the current call.
    count: usize,
    /// How many handles to messages the guest has, those of earlier calls included.
    handles: usize,
    all: Vec<Member>,
}

/// One message of a call.
pub(crate) struct Member {
    pub(crate) delivery: DeliveryState,
    /// The rest of the body.
    pub(crate) body: Bytes,
}

impl Members {
    /// Turns to the messages of another call, which have the numbers from `first` on.
    pub(crate) fn begin(&mut self, shared: &Arc<Shared>, first: u32, messages: Vec<(Context, Attributes, Bytes)>) {
        self.first = first;
        self.count = messages.len();
        self.handles = self.handles.saturating_add(self.count);
        for (place, (context, attributes, body)) in messages.into_iter().enumerate() {
            match self.all.get_mut(place) {
                Some(member) => {
                    member.delivery.begin(context, attributes);
                    member.body = body;
                }
                None => self.all.push(Member { delivery: DeliveryState::new(shared, context, attributes), body }),
            }
        }
    }

    /// Ends what belongs to the messages alone.
    pub(crate) fn end(&mut self) {
        for member in self.all.iter_mut().take(self.count) {
            member.delivery.log.end();
            member.body = Bytes::new();
        }
        self.count = 0;
    }

    /// The guest gave up a handle to a message.
    pub(crate) fn drop_handle(&mut self) {
        self.handles = self.handles.saturating_sub(1);
    }

    /// How many handles to messages the guest kept.
    pub(crate) fn handles(&self) -> usize {
        self.handles
    }

    /// The messages of the current call, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.all.iter().take(self.count)
    }

    /// The message of this number, if the current call has it.
    pub(crate) fn find(&mut self, number: u32) -> Option<&mut Member> {
        let place = number.wrapping_sub(self.first) as usize;
        if place < self.count { self.all.get_mut(place) } else { None }
    }
}
