//! Signatures of Slack: `X-Slack-Signature: v0=HEX`, over the version, the time and the body.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName};
use serde::Deserialize;

use super::{Claim, check_time, header, mac, missing};
use crate::problem::Problem;

static SIGNATURE: HeaderName = HeaderName::from_static("x-slack-signature");
static TIME: HeaderName = HeaderName::from_static("x-slack-request-timestamp");

/// The largest request by which an address is tried.
const TRIAL_BYTES_MAX: usize = 4096;

pub(super) fn claim(headers: &HeaderMap, now: SystemTime) -> Result<Claim, Problem> {
    let signature = header(headers, &SIGNATURE).ok_or_else(|| missing(&SIGNATURE))?;
    let time = header(headers, &TIME).ok_or_else(|| missing(&TIME))?;
    let code = signature.strip_prefix("v0=").and_then(mac::from_hex);
    let code = code.ok_or_else(|| Problem::unauthorized(format!("{SIGNATURE} is not v0= and 64 digits")))?;
    check_time(time, now)?;
    Ok(Claim { before: format!("v0:{time}:").into_bytes(), signatures: vec![code] })
}

/// A request by which Slack tries an address, before it sends anything there.
#[derive(Deserialize)]
struct Trial {
    r#type: String,
    challenge: String,
}

/// The text that Slack wants to see again, if it tries the address.
pub(super) fn challenge(body: &[u8]) -> Option<String> {
    if body.len() > TRIAL_BYTES_MAX {
        return None;
    }
    let trial: Trial = serde_json::from_slice(body).ok()?;
    (trial.r#type == "url_verification").then_some(trial.challenge)
}
