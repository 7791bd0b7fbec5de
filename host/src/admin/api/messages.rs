//! Publishing a message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmpost_delivery::Admission;
use wasmpost_msg::{Attributes, Publication, tenant_of};

use crate::admin::pass::{Pass, Sent};
use crate::admin::problem::Problem;
use crate::admin::scene::Scene;

/// A message to publish.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    /// The broker: the only one, or `default`, unless given.
    broker: Option<String>,
    /// The topic to write to.
    topic: String,
    /// The attributes, each with its values.
    #[serde(default)]
    attributes: BTreeMap<String, Vec<String>>,
    /// The body as text.
    body: Option<String>,
    /// The body in base64.
    body_base64: Option<String>,
    /// The id. A second message with it, within ten minutes, is not stored.
    id: Option<String>,
    /// The ordering key.
    key: Option<String>,
    /// The time before which it is not delivered, in milliseconds.
    #[serde(default)]
    delay_ms: u64,
    /// The time after which it is not delivered any more, in milliseconds.
    ttl_ms: Option<u64>,
}

/// A message that was stored.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Published {
    /// Its id.
    id: String,
    /// Whether a message with this id was stored before, so that nothing was added.
    duplicate: bool,
}

impl Message {
    fn publication(self) -> Result<Publication, Problem> {
        use base64::Engine;
        let body = match (self.body, self.body_base64) {
            (Some(_), Some(_)) => return Err(Problem::invalid("give body or body_base64, not both")),
            (text, None) => text.unwrap_or_default().into_bytes(),
            (None, Some(text)) => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(text);
                decoded.map_err(|error| Problem::invalid(format!("body_base64 is not base64: {error}")))?
            }
        };
        let mut attributes = Attributes::new();
        for (name, values) in &self.attributes {
            for value in values {
                if let Some(fault) = wasmpost_msg::attribute_fault(name, value) {
                    return Err(Problem::invalid(fault));
                }
                attributes.append(name, value);
            }
        }
        let publication = Publication::new(self.topic, attributes, body);
        // An id that is known before: whoever gets no answer has nothing to lose by asking again under an own one.
        let id = Some(self.id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()));
        Ok(Publication {
            id,
            key: self.key.or(publication.key.clone()),
            delay: Duration::from_millis(self.delay_ms),
            ttl: self.ttl_ms.map(Duration::from_millis),
            ..publication
        })
    }
}

pub(crate) async fn publish(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Sent(message): Sent<Message>,
) -> Result<(StatusCode, Json<Published>), Problem> {
    pass.may_use(&message.topic)?;
    let opened = scene.broker(message.broker.as_deref())?;
    let publication = message.publication()?;
    Admission::default().check(&publication)?;
    let topic = publication.topic.clone();
    let receipts = opened.broker.publish(vec![publication]).await?;
    let receipt = receipts.into_iter().next().ok_or_else(|| Problem::unavailable("the broker confirmed nothing"))?;
    let thing = format!("message {} to {topic}", receipt.id);
    scene.audit.note(&pass, &thing, tenant_of(&topic));
    let status = if receipt.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(Published { id: receipt.id, duplicate: receipt.duplicate })))
}
