//! Dead letters: pages of them, how many there are, and one with its evidence.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmpost_delivery::DeadLetterFilter;
use wasmpost_msg::Reason;

use super::letter::Letter;
use super::{Cursor, page_size};
use crate::admin::pass::{Asked, Named, Pass};
use crate::admin::problem::Problem;
use crate::admin::scene::Scene;

/// How many letters are counted at most where the broker has to look at each.
const COUNT_MAX: u64 = 100_000;

/// A page of dead letters.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LettersQuery {
    /// The broker: the only one, or `default`, unless given.
    pub(crate) broker: Option<String>,
    /// Only those of this queue.
    pub(crate) queue: Option<String>,
    /// Only those that died for this reason.
    pub(crate) reason: Option<String>,
    /// Where to go on: `next` of the page before.
    pub(crate) cursor: Option<String>,
    /// The most letters of the page, up to 200; 50 unless given.
    pub(crate) max: Option<usize>,
}

/// The dead letter that is meant.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneQuery {
    /// The broker: the only one, or `default`, unless given.
    pub(crate) broker: Option<String>,
    /// The queue that it died in, where a message died in several.
    pub(crate) queue: Option<String>,
}

/// A page of dead letters.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Letters {
    /// The letters, oldest first, without their bodies.
    pub(crate) letters: Vec<Letter>,
    /// The cursor of the next page, if there may be one.
    pub(crate) next: Option<String>,
}

/// How many dead letters there are.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Count {
    /// How many.
    pub(crate) count: u64,
    /// Whether there are more, which were not counted.
    pub(crate) is_more: bool,
}

pub(super) fn reason_of(word: Option<&str>) -> Result<Option<Reason>, Problem> {
    word.filter(|word| !word.is_empty())
        .map(|word| word.parse().map_err(|fault: String| Problem::invalid(fault)))
        .transpose()
}

impl LettersQuery {
    fn filter(&self) -> Result<DeadLetterFilter, Problem> {
        let queue = self.queue.clone().filter(|queue| !queue.is_empty());
        Ok(DeadLetterFilter { ids: Vec::new(), queue, reason: reason_of(self.reason.as_deref())? })
    }
}

/// A page of letters that the holder of a pass may see.
pub(crate) async fn page(scene: &Scene, pass: &Pass, query: &LettersQuery) -> Result<Letters, Problem> {
    let max = page_size(query.max)?;
    let cursor = Cursor::read(query.cursor.as_deref())?;
    let filter = query.filter()?;
    let opened = scene.broker(query.broker.as_deref())?;
    if let Some(queue) = &filter.queue {
        pass.may_use(queue)?;
    }
    // One list of all, or of a queue; for a tenant one list of each of its queues after the other.
    let lists = match (pass.tenant(), &filter.queue) {
        (Some(_), None) => {
            let queues = opened.queues(pass).await?.into_iter().filter(|stats| stats.dead > 0);
            queues.map(|stats| stats.queue).filter(|queue| *queue >= cursor.name).map(Some).collect()
        }
        (_, queue) => vec![queue.clone()],
    };
    let dead = opened.letters()?;
    let mut letters = Vec::new();
    let mut next = None;
    for queue in lists {
        let name = queue.clone().unwrap_or_default();
        let mut skip =
            if name == cursor.name || query.queue.is_some() || pass.tenant().is_none() { cursor.number } else { 0 };
        let filter = DeadLetterFilter { queue, ..filter.clone() };
        while letters.len() < max {
            let page = dead.list(&filter, skip as usize, max - letters.len()).await?;
            if page.is_empty() {
                break;
            }
            skip += page.len() as u64;
            letters.extend(page.into_iter().map(Letter::from));
        }
        if letters.len() >= max {
            next = Some(Cursor { name, number: skip }.write());
            break;
        }
    }
    Ok(Letters { letters, next })
}

pub(crate) async fn list(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Asked(query): Asked<LettersQuery>,
) -> Result<Json<Letters>, Problem> {
    page(&scene, &pass, &query).await.map(Json)
}

/// How many letters a filter means, of those that the holder of a pass may see.
pub(crate) async fn counted(scene: &Scene, pass: &Pass, query: &LettersQuery) -> Result<Count, Problem> {
    let filter = query.filter()?;
    let opened = scene.broker(query.broker.as_deref())?;
    if let Some(queue) = &filter.queue {
        pass.may_use(queue)?;
    }
    if filter.reason.is_none() {
        let queues = opened.queues(pass).await?.into_iter();
        let meant = queues.filter(|stats| filter.queue.as_ref().is_none_or(|queue| *queue == stats.queue));
        return Ok(Count { count: meant.map(|stats| stats.dead).sum(), is_more: false });
    }
    if pass.tenant().is_some() && filter.queue.is_none() {
        return Err(Problem::invalid("name a queue to count by reason"));
    }
    let count = opened.letters()?.count(&filter, COUNT_MAX).await?;
    Ok(Count { count, is_more: count >= COUNT_MAX })
}

pub(crate) async fn count(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Asked(query): Asked<LettersQuery>,
) -> Result<Json<Count>, Problem> {
    counted(&scene, &pass, &query).await.map(Json)
}

/// The letters of a message that the holder of a pass may see.
pub(super) fn of_message(id: String, queue: Option<&String>) -> DeadLetterFilter {
    DeadLetterFilter { ids: vec![id], queue: queue.cloned().filter(|queue| !queue.is_empty()), reason: None }
}

/// How many letters of one message are looked at: one died in as many queues.
const OF_MESSAGE_MAX: usize = 50;

/// One letter, if the holder of the pass may see it.
pub(crate) async fn find(scene: &Scene, pass: &Pass, id: &str, query: &OneQuery) -> Result<Letter, Problem> {
    let opened = scene.broker(query.broker.as_deref())?;
    let filter = of_message(id.to_owned(), query.queue.as_ref());
    let found = opened.letters()?.list(&filter, 0, OF_MESSAGE_MAX).await?;
    let seen = found.into_iter().find(|listed| pass.sees(&listed.letter.queue));
    seen.map(Letter::from).ok_or_else(|| missing(id))
}

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no dead letter of a message {id:?}"))
}

pub(crate) async fn one(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Named(id): Named,
    Asked(query): Asked<OneQuery>,
) -> Result<Json<Letter>, Problem> {
    find(&scene, &pass, &id, &query).await.map(Json)
}
