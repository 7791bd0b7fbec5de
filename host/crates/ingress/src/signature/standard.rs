//! Signatures of the Standard Webhooks specification: `webhook-signature: v1,BASE64[ v1,BASE64]`, over the id, the time and
//! the body.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};

use super::mac::{CODE_BYTES, Key};
use super::{Claim, check_time, header, missing};
use crate::problem::Problem;

/// The headers for id, time and signatures. Senders that are older than the specification have names of their own.
static NAMES: [[HeaderName; 3]; 2] = [
    [
        HeaderName::from_static("webhook-id"),
        HeaderName::from_static("webhook-timestamp"),
        HeaderName::from_static("webhook-signature"),
    ],
    [
        HeaderName::from_static("svix-id"),
        HeaderName::from_static("svix-timestamp"),
        HeaderName::from_static("svix-signature"),
    ],
];
/// The most signatures of one request. There are several while a secret is replaced.
const SIGNATURES_MAX: usize = 8;

/// The key that a secret stands for.
pub(super) fn key(secret: &str) -> Option<Key> {
    let text = secret.strip_prefix("whsec_").unwrap_or(secret);
    let bytes = STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty())?;
    Some(Key::new(&bytes))
}

pub(super) fn claim(headers: &HeaderMap, now: SystemTime) -> Result<Claim, Problem> {
    let [own, older] = &NAMES;
    let is_older = !headers.contains_key(&own[0]) && headers.contains_key(&older[0]);
    let [id, time, signature] = if is_older { older } else { own };
    let value = |name: &HeaderName| header(headers, name).ok_or_else(|| missing(name));
    let told_id = value(id)?;
    let told_time = value(time)?;
    // Others are of public keys, and of versions to come.
    let codes = value(signature)?.split(' ').filter_map(|part| STANDARD.decode(part.strip_prefix("v1,")?).ok());
    let signatures: Vec<_> = codes.filter(|code| code.len() == CODE_BYTES).take(SIGNATURES_MAX).collect();
    if signatures.is_empty() {
        return Err(Problem::unauthorized(format!("{signature} has no signature v1,")));
    }
    check_time(told_time, now)?;
    Ok(Claim { before: format!("{told_id}.{told_time}.").into_bytes(), signatures })
}
