//! The body of a dead letter, for those who ask for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmpost_msg::tenant_of;

use super::letters::{OneQuery, find, missing, of_message};
use crate::admin::pass::{Asked, Named, Pass};
use crate::admin::problem::Problem;
use crate::admin::scene::Scene;

/// How much of a body is shown in JSON, in bytes.
const SHOWN_BYTES_MAX: usize = 1 << 20;

/// The body that is meant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BodyQuery {
    /// The broker: the only one, or `default`, unless given.
    broker: Option<String>,
    /// The queue that the letter died in, where a message died in several.
    queue: Option<String>,
    /// `raw` for all of the body as it is; JSON with its first mebibyte unless given.
    form: Option<String>,
}

/// A body, as text where it is text, in base64 otherwise.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LetterBody {
    /// How large it is, in bytes.
    bytes: u64,
    /// Whether only its beginning is here.
    is_cut: bool,
    /// The body.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The body in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

pub(crate) async fn body(
    State(scene): State<Arc<Scene>>,
    pass: Pass,
    Named(id): Named,
    Asked(query): Asked<BodyQuery>,
) -> Result<Response, Problem> {
    use base64::Engine;
    let of = OneQuery { broker: query.broker, queue: query.queue };
    let letter = find(&scene, &pass, &id, &of).await?;
    let opened = scene.broker(of.broker.as_deref())?;
    let found = opened.letters()?.show(&of_message(id.clone(), Some(&letter.queue)), 0, 1).await?;
    let body = found.into_iter().next().ok_or_else(|| missing(&id))?.body;
    scene.audit.note(&pass, &id, tenant_of(&letter.queue));
    if query.form.as_deref() == Some("raw") {
        let kind = (header::CONTENT_TYPE, "application/octet-stream");
        let saved = (header::CONTENT_DISPOSITION, "attachment; filename=\"body\"");
        return Ok(([kind, saved], body).into_response());
    }
    let shown = body.get(..SHOWN_BYTES_MAX.min(body.len())).unwrap_or_default();
    let bytes = body.len() as u64;
    let is_cut = shown.len() < body.len();
    // A character at the end may be cut as well.
    let text = match std::str::from_utf8(shown) {
        Ok(text) => Some(text),
        Err(error) if is_cut && error.error_len().is_none() => {
            shown.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok())
        }
        Err(_) => None,
    };
    let told = match text {
        Some(text) => LetterBody { bytes, is_cut, body: Some(text.to_owned()), body_base64: None },
        None => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(shown);
            LetterBody { bytes, is_cut, body: None, body_base64: Some(encoded) }
        }
    };
    Ok(Json(told).into_response())
}
