//! A history, sorted by messages and leases.

use std::collections::BTreeMap;

use wasmpost_msg::Publication;

use crate::guest::ORIGIN;
use crate::history::{Answer, Dead, Event, How, Left, Outcome, Running, Taken, Time, What};
use crate::host::QUEUES;
use crate::plan::Plan;

/// When something happened: its place in the history, and the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct When {
    pub place: usize,
    pub at: Time,
}

/// A history, sorted.
pub struct Ledger<'a> {
    pub plan: &'a Plan,
    /// The messages that were published from outside, in the order of each publisher.
    pub sent: Vec<Sent<'a>>,
    pub leases: Vec<Lease<'a>>,
    /// The leases of each message of each queue.
    pub messages: BTreeMap<(&'a str, &'a str), Vec<usize>>,
    pub lives: Vec<Life>,
    /// When power was cut.
    pub cuts: Vec<When>,
    pub drained: Vec<(When, usize, &'a Left)>,
    pub purging: Vec<(When, &'a str, &'a str)>,
    pub redriving: Vec<(When, &'a str, &'a str)>,
    pub trouble: Vec<&'a What>,
    pub end: Option<(&'a [Dead], u64, u64)>,
}

/// A message from outside.
pub struct Sent<'a> {
    pub id: &'a str,
    pub message: &'a Publication,
    pub when: When,
    pub confirmed: bool,
}

/// One delivery, from its lease to its end.
pub struct Lease<'a> {
    pub taken: &'a Taken,
    pub when: When,
    /// The number of its process.
    pub life: usize,
    pub renewing: Vec<When>,
    pub renewed: Vec<When>,
    /// Whether the receiver was about to be called: from then on the attempt counts.
    pub has_begun: bool,
    pub began: Option<&'a Running>,
    pub answered: Option<(When, &'a Answer, usize)>,
    pub settling: Option<(When, &'a How)>,
    pub settled: Option<(When, Outcome)>,
    pub durable: Option<When>,
}

/// One process.
pub struct Life {
    pub began: When,
    pub wall: i64,
    /// Its end, if that freed its leases.
    pub freed: Option<When>,
}

/// Where a message comes from that a receiver published: source, attempt, and place in the outbox.
pub type Origin<'a> = (&'a str, u32, usize);

impl<'a> Ledger<'a> {
    pub fn of(plan: &'a Plan, events: &'a [Event]) -> Self {
        let mut ledger = Self {
            plan,
            sent: Vec::new(),
            leases: Vec::new(),
            messages: BTreeMap::new(),
            lives: Vec::new(),
            cuts: Vec::new(),
            drained: Vec::new(),
            purging: Vec::new(),
            redriving: Vec::new(),
            trouble: Vec::new(),
            end: None,
        };
        for (place, event) in events.iter().enumerate() {
            ledger.add(When { place, at: event.at }, &event.what);
        }
        ledger
    }

    fn add(&mut self, when: When, what: &'a What) {
        let life = self.lives.len();
        match what {
            What::Life { wall } => self.lives.push(Life { began: when, wall: *wall, freed: None }),
            What::Publishing(message) => {
                let id = message.id.as_deref().unwrap_or_default();
                self.sent.push(Sent { id, message, when, confirmed: false });
            }
            What::Confirmed { id } => {
                let sent = self.sent.iter_mut().find(|sent| sent.id == id);
                sent.expect("only what is published is confirmed").confirmed = true;
            }
            What::Leased(taken) => {
                self.messages.entry((&taken.queue, &taken.id)).or_default().push(self.leases.len());
                self.leases.push(Lease::new(taken, when, life));
            }
            What::Crashed { frees: true, .. } => self.lives[life - 1].freed = Some(when),
            What::PowerCut => self.cuts.push(when),
            What::Crashed { .. } | What::CommitFailed | What::Calm => {}
            What::Drained(left) => {
                self.drained.push((when, life, left));
                if left.leased.is_some() {
                    self.lives[life - 1].freed = Some(when);
                }
            }
            What::Purging { queue, id } => self.purging.push((when, queue, id)),
            What::Redriving { queue, id } => self.redriving.push((when, queue, id)),
            What::Stuck { .. } | What::Unreadable { .. } => self.trouble.push(what),
            What::End { dead, expired, left } => self.end = Some((dead, *expired, *left)),
            _ => self.add_to_lease(when, what),
        }
    }

    fn add_to_lease(&mut self, when: When, what: &'a What) {
        let number = match what {
            What::Renewing { lease } | What::Renewed { lease } | What::Durable { lease } => *lease,
            What::Begun { lease } | What::Began { lease, .. } | What::Answered { lease, .. } => *lease,
            What::Settling { lease, .. } | What::Settled { lease, .. } => *lease,
            _ => return,
        };
        let lease = self.leases.iter_mut().rev().find(|lease| lease.taken.lease == number);
        let lease = lease.expect("only what is leased is settled");
        match what {
            What::Renewing { .. } => lease.renewing.push(when),
            What::Renewed { .. } => lease.renewed.push(when),
            What::Durable { .. } => lease.durable = Some(when),
            What::Begun { .. } => lease.has_begun = true,
            What::Began { running, .. } => lease.began = Some(running),
            What::Answered { answer, published, .. } => lease.answered = Some((when, answer, *published)),
            What::Settling { how, .. } => lease.settling = Some((when, how)),
            What::Settled { outcome, .. } => lease.settled = Some((when, *outcome)),
            _ => {}
        }
    }

    /// Each two deliveries of one message that follow each other. After a purge, one with its id is another message.
    pub fn pairs(&self) -> impl Iterator<Item = (&Lease<'a>, &Lease<'a>)> {
        let pairs = self.messages.values().flat_map(|leases| leases.windows(2));
        let pairs = pairs.map(|pair| (&self.leases[pair[0]], &self.leases[pair[1]]));
        pairs.filter(|(before, after)| !self.was_purged_between(before.queue(), before.id(), before.when, after.when))
    }

    /// The deliveries of one message.
    pub fn of_message<'s>(&'s self, queue: &'s str, id: &'s str) -> impl Iterator<Item = &'s Lease<'a>> + Clone {
        let leases = self.messages.get(&(queue, id)).map(Vec::as_slice).unwrap_or_default();
        leases.iter().map(|lease| &self.leases[*lease])
    }

    /// The messages from outside that a queue gets.
    pub fn sent_to<'s>(&'s self, queue: &str) -> impl Iterator<Item = &'s Sent<'a>> + use<'a, 's> {
        let topic = QUEUES.iter().find(|(name, _)| *name == queue).map(|(_, topic)| *topic);
        self.sent.iter().filter(move |sent| Some(sent.message.topic.as_str()) == topic)
    }

    /// The dead letters that were left at the end.
    pub fn dead(&self) -> &'a [Dead] {
        self.end.map(|(dead, ..)| dead).unwrap_or_default()
    }

    pub fn is_dead(&self, queue: &str, id: &str) -> bool {
        self.dead().iter().any(|dead| dead.queue == queue && dead.id == id)
    }

    pub fn was_purged(&self, queue: &str, id: &str) -> bool {
        self.purging.iter().any(|(_, of, which)| *of == queue && *which == id)
    }

    /// Whether dead letters of this message may have been deleted in between, so that its id could be published again.
    pub fn was_purged_between(&self, queue: &str, id: &str, from: When, to: When) -> bool {
        let mut purging = self.purging.iter().filter(|(_, of, which)| *of == queue && *which == id);
        purging.any(|(when, ..)| from < *when && *when < to)
    }

    /// Whether power was cut in between.
    pub fn was_cut(&self, from: When, to: When) -> bool {
        self.cuts.iter().any(|cut| from < *cut && *cut < to)
    }

    /// Whether a process began in between while the wall clock was further ahead than for the one before.
    pub fn was_set_ahead(&self, from: When, to: When) -> bool {
        let mut lives = self.lives.windows(2).filter(|pair| from < pair[1].began && pair[1].began < to);
        lives.any(|pair| pair[1].wall > pair[0].wall)
    }

    /// Whether dead letters of this message may have been put back since.
    pub fn was_redriven(&self, queue: &str, id: &str, since: When) -> bool {
        self.redriving.iter().any(|(when, of, which)| *when > since && *of == queue && *which == id)
    }
}

impl<'a> Lease<'a> {
    fn new(taken: &'a Taken, when: When, life: usize) -> Self {
        let renewing = Vec::new();
        let renewed = Vec::new();
        Self {
            taken,
            when,
            life,
            renewing,
            renewed,
            has_begun: false,
            began: None,
            answered: None,
            settling: None,
            settled: None,
            durable: None,
        }
    }

    pub fn queue(&self) -> &'a str {
        &self.taken.queue
    }

    pub fn id(&self) -> &'a str {
        &self.taken.id
    }

    /// Whether it was settled in this way, for all that is known: the answer may be lost with the process.
    pub fn may_be_settled(&self) -> bool {
        // A store that was closed, as after a commit that failed, leaves open what is on disk.
        let is_open = |outcome| matches!(outcome, Outcome::Done | Outcome::Closed);
        self.settling.is_some() && self.settled.is_none_or(|(_, outcome)| is_open(outcome))
    }

    /// Whether it was settled for certain.
    pub fn is_settled(&self) -> bool {
        self.settled.is_some_and(|(_, outcome)| outcome == Outcome::Done)
    }

    pub fn is_ack(&self) -> bool {
        self.settling.is_some_and(|(_, how)| matches!(how, How::Ack { .. }))
    }

    pub fn is_reject(&self) -> bool {
        self.settling.is_some_and(|(_, how)| *how == How::Reject)
    }

    pub fn is_dropped(&self) -> bool {
        self.settling.is_some_and(|(_, how)| *how == How::Drop)
    }

    /// How it is told of in a violation.
    pub fn name(&self) -> String {
        let Taken { lease, queue, id, deliveries, .. } = self.taken;
        format!("lease {lease} ({queue} {id:?}, delivery {deliveries}, at {})", self.when.at)
    }
}

/// Where a message comes from, if a receiver published it.
pub fn origin(message: &Publication) -> Option<Origin<'_>> {
    let mut parts = message.attributes.get(ORIGIN)?.split('|');
    Some((parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
