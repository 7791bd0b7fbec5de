//! Receivers that do what the plan says.

use std::panic::resume_unwind;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::sleep;
use wasmpost_msg::{Batch, Context, Disposition, Message, Reason, ReceiveError, Receiver, Topic};

use crate::history::{Answer, What};
use crate::world::{Life, World};

/// The attribute that tells where a message comes from: source, attempt, and place in the outbox.
pub const ORIGIN: &str = "Origin";
/// The body of messages that are never closed.
pub const UNCLOSED: &str = "never closed";
/// The topic that receivers publish to.
pub const NEXT: &str = "next";

/// The receiver of one queue in one process.
pub struct Guest {
    pub queue: &'static str,
    pub world: Arc<World>,
    pub life: Life,
}

#[async_trait]
impl Receiver for Guest {
    async fn receive(&self, message: Message) -> Result<(), ReceiveError> {
        let Self { queue, world, life } = self;
        life.does(async {}).await;
        let lease = lease_of(&message);
        let (_runs, running) = world.run(life, queue);
        world.note(What::Began { lease, running });
        let id = message.context.id().to_owned();
        let attempt = message.context.attempt();
        let published = if *queue == "work" { self.publish(&message.context, &id, attempt).await } else { 0 };
        let (takes, answer) = world.plan.answer(queue, &id, attempt, world.is_calm());
        life.does(sleep(takes)).await;
        world.note(What::Answered { lease, answer: answer.clone(), published });
        self.result(answer, attempt)
    }

    /// One message that traps ends the call for all of them.
    async fn receive_batch(&self, batch: Batch) -> Result<Vec<Result<(), ReceiveError>>, ReceiveError> {
        let Self { queue, world, life } = self;
        life.does(async {}).await;
        let (_runs, running) = world.run(life, queue);
        let mut answers = Vec::new();
        for message in batch.messages {
            let lease = lease_of(&message);
            world.note(What::Began { lease, running: running.clone() });
            let id = message.context.id().to_owned();
            let attempt = message.context.attempt();
            let published = if *queue == "work" { self.publish(&message.context, &id, attempt).await } else { 0 };
            let (takes, answer) = world.plan.answer(queue, &id, attempt, world.is_calm());
            answers.push((lease, attempt, takes, answer, published));
        }
        let takes = answers.iter().map(|(_, _, takes, ..)| *takes).max().unwrap_or_default();
        life.does(sleep(takes)).await;
        if let Some((_, attempt, ..)) = answers.iter().find(|(.., answer, _)| *answer == Answer::Trap)
            && answers.len() > 1
        {
            self.result(Answer::Trap, *attempt)?;
        }
        let result = |(lease, attempt, _, answer, published): (usize, u32, _, Answer, usize)| {
            world.note(What::Answered { lease, answer: answer.clone(), published });
            self.result(answer, attempt)
        };
        Ok(answers.into_iter().map(result).collect())
    }
}

/// The number of the lease that brought a message.
fn lease_of(message: &Message) -> usize {
    message.attributes.get("Lease").and_then(|lease| lease.parse().ok()).unwrap_or_default()
}

impl Guest {
    /// Publishes some messages, and begins one that it never closes.
    async fn publish(&self, context: &Context, id: &str, attempt: u32) -> usize {
        let mut dice = self.world.plan.dice("publishes", (id, attempt));
        let count = dice.usize(0..4);
        for ordinal in 0..count {
            let mut writer = context.topic(NEXT).new_writer();
            writer.attributes().set(ORIGIN, format!("{id}|{attempt}|{ordinal}"));
            if dice.u32(0..8) == 0 {
                let mut unclosed = context.topic(NEXT).new_writer();
                drop(unclosed.write(UNCLOSED.into()).await);
            }
            // Without a chunk the message has an empty body, and is a message all the same.
            for _ in 0..dice.usize(0..3) {
                drop(writer.write(format!("from {id} ").into()).await);
            }
            drop(writer.close().await);
        }
        count
    }

    fn result(&self, answer: Answer, attempt: u32) -> Result<(), ReceiveError> {
        match answer {
            Answer::Ok => Ok(()),
            Answer::Retry => Err(ReceiveError::retry("not now")),
            Answer::RetryAfter(delay) => Err(ReceiveError::retry_after(delay, "later")),
            Answer::Reject => Err(ReceiveError::reject("never")),
            Answer::GiveBack => Err(ReceiveError::new(Disposition::GiveBack, Reason::HostBusy, "no room")),
            // Every other one ends as a native receiver does.
            Answer::Trap if attempt.is_multiple_of(2) => resume_unwind(Box::new("receiver panicked")),
            Answer::Trap => Err(ReceiveError::new(Disposition::Retry, Reason::Trap, "unreachable")),
        }
    }
}
