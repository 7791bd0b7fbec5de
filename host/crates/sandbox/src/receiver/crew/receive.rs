//! One message's way through an instance that it shares.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::timeout;
use wasmpost_msg::{Context, Disposition, Message, Reason, ReceiveError, Usage};

use super::super::setup::{out_of_wall, wait_for_place};
use super::drive::Call;
use super::roster::Outcome;
use super::{Crews, Seat};
use crate::limits::Meter;

impl Crews {
    /// Has the message processed beside others, and tells what it used.
    pub(crate) async fn receive(&self, message: Message) -> (Result<(), ReceiveError>, Usage) {
        let context = message.context.clone();
        let mut usage = Usage::default();
        let result = {
            let work = self.work(message, &mut usage);
            tokio::select! {
                biased;
                result = work => result,
                () = context.cancelled().cancelled() => Err(context.interruption()),
            }
        };
        (result, usage)
    }

    async fn work(&self, mut message: Message, usage: &mut Usage) -> Result<(), ReceiveError> {
        let wall = self.setup.shared.limits.wall;
        let reading = Meter::new();
        let body = timeout(wall.0, self.setup.body(&mut message)).await.map_err(|_| out_of_wall(wall))??;
        let read_for = reading.wall();
        let mut seat = self.seat(&message.context).await?;
        // Waiting for the host is no time of the call.
        let meter = Meter::new();
        let crew = Arc::clone(&seat.crew);
        let number = seat.number;
        let Message { context, attributes, .. } = message;
        let call = Call { number, context, attributes, body, meter: Arc::clone(&meter) };
        // There is room for every message that has a place; an instance that ended meanwhile says so itself.
        drop(crew.calls.try_send(call));
        let outcome = timeout(wall.0.saturating_sub(read_for), &mut seat).await;
        usage.wall = meter.wall() + read_for;
        usage.memory_peak_bytes = crew.roster.memory_peak_bytes.load(Ordering::Relaxed);
        let outcome = outcome.unwrap_or_else(|_| {
            let cpu = crew.roster.leave(number);
            Outcome { result: Err(out_of_wall(wall)), published_bytes: 0, host_work: 0, cpu }
        });
        (usage.cpu, usage.published_bytes) = (outcome.cpu, outcome.published_bytes);
        usage.host_work = outcome.host_work;
        outcome.result
    }

    async fn seat(&self, context: &Context) -> Result<Seat, ReceiveError> {
        if let Some(seat) = self.join() {
            return Ok(seat);
        }
        let places = &self.setup.sandbox.places;
        let place = match places.free() {
            Some(place) => place,
            None => wait_for_place(places, context).await?,
        };
        // Others may have made room or an instance while this one waited; the place is free again then.
        let seat = self.join().or_else(|| self.start(place));
        seat.ok_or_else(|| ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, "no instance has room"))
    }
}
