//! Dead letters in groups: those that died alike.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::letter::Letter;
use super::letters::{LettersQuery, page};
use super::{PAGE_MAX, page_size};
use crate::admin::pass::{Asked, Pass};
use crate::admin::problem::Problem;
use crate::admin::scene::Scene;

/// How many letters are looked at: the oldest ones.
const LOOKED_AT_MAX: usize = 2_000;
/// How much of an error tells groups apart, in characters.
const ERROR_MAX: usize = 200;

/// The letters that are grouped.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupsQuery {
    /// The broker: the only one, or `default`, unless given.
    broker: Option<String>,
    /// Only those of this queue.
    queue: Option<String>,
    /// Only those that died for this reason.
    reason: Option<String>,
    /// The most groups, up to 200; 50 unless given.
    max: Option<usize>,
}

impl GroupsQuery {
    pub(crate) fn broker(&self) -> Option<&str> {
        self.broker.as_deref()
    }
}

/// Groups of dead letters.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Groups {
    /// The groups, the largest first.
    pub(crate) groups: Vec<Group>,
    /// How many letters were looked at, the oldest ones.
    pub(crate) looked_at: usize,
    /// Whether there are more letters than those.
    pub(crate) is_more: bool,
}

/// Dead letters of one queue that died for one reason, with one error and one component.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Group {
    /// The queue that they died in.
    pub(crate) queue: String,
    /// The kind of failure.
    pub(crate) reason: &'static str,
    /// The error, with `#` for each word that has a digit.
    pub(crate) error: String,
    /// The digest of the component.
    pub(crate) component: Option<String>,
    /// How many there are, of those that were looked at.
    pub(crate) count: u64,
    /// When the first one died, in milliseconds since 1970.
    pub(crate) first_ms: u64,
    /// When the last one died.
    pub(crate) last_ms: u64,
    /// The id of one of them.
    pub(crate) example: String,
}

/// An error without the words by which errors of one kind differ: numbers, ids, addresses.
fn alike(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    let mut alike = String::new();
    let mut word = String::new();
    for letter in line.chars().take(ERROR_MAX).chain([' ']) {
        if letter.is_alphanumeric() || letter == '-' {
            word.push(letter);
            continue;
        }
        let is_number = word.chars().any(|letter| letter.is_ascii_digit());
        alike.push_str(if is_number { "#" } else { &word });
        alike.push(letter);
        word.clear();
    }
    alike.pop();
    alike
}

fn group(groups: &mut HashMap<(String, &'static str, String, Option<String>), Group>, letter: Letter) {
    let error = alike(&letter.error);
    let key = (letter.queue, letter.reason, error, letter.component);
    let group = groups.entry(key).or_insert_with_key(|(queue, reason, error, component)| Group {
        queue: queue.clone(),
        reason,
        error: error.clone(),
        component: component.clone(),
        count: 0,
        first_ms: letter.dead_at_ms,
        last_ms: letter.dead_at_ms,
        example: letter.id,
    });
    group.count += 1;
    group.first_ms = group.first_ms.min(letter.dead_at_ms);
    group.last_ms = group.last_ms.max(letter.dead_at_ms);
}

/// The groups of the letters that the holder of a pass may see.
pub(crate) async fn groups(scene: &Scene, pass: &Pass, query: GroupsQuery) -> Result<Groups, Problem> {
    let max = page_size(query.max)?;
    let GroupsQuery { broker, queue, reason, .. } = query;
    let mut asked = LettersQuery { broker, queue, reason, cursor: None, max: Some(PAGE_MAX) };
    let mut found = HashMap::new();
    let mut looked_at = 0;
    loop {
        let letters = page(scene, pass, &asked).await?;
        looked_at += letters.letters.len();
        letters.letters.into_iter().for_each(|letter| group(&mut found, letter));
        asked.cursor = letters.next;
        if asked.cursor.is_none() || looked_at >= LOOKED_AT_MAX {
            break;
        }
    }
    let mut groups: Vec<_> = found.into_values().collect();
    groups.sort_by(|one, other| (other.count, &one.queue, &one.error).cmp(&(one.count, &other.queue, &other.error)));
    groups.truncate(max);
    Ok(Groups { groups, looked_at, is_more: asked.cursor.is_some() })
}

pub(crate) async fn list(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Asked(query): Asked<GroupsQuery>,
) -> Result<Json<Groups>, Problem> {
    groups(&scene, &pass, query).await.map(Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_differ_in_numbers_and_ids_are_alike() {
        assert_eq!(alike("order 17 of 01a2-3f is late: 5ms"), alike("order 3 of 77-f0 is late: 12ms"));
        assert_eq!(alike("order 17 is late\nmore"), "order # is late");
        assert_ne!(alike("order is late"), alike("order is lost"));
        assert_eq!(alike(&"é".repeat(1000)).chars().count(), ERROR_MAX);
    }
}
