//! Signatures of Slack: `X-Slack-Signature: v0=HEX`, over the version, the time and the body.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName};

use super::{Claim, check_time, header, mac, missing};
use crate::problem::Problem;

static SIGNATURE: HeaderName = HeaderName::from_static("x-slack-signature");
static TIME: HeaderName = HeaderName::from_static("x-slack-request-timestamp");

pub(super) fn claim(headers: &HeaderMap, now: SystemTime) -> Result<Claim, Problem> {
    let signature = header(headers, &SIGNATURE).ok_or_else(|| missing(&SIGNATURE))?;
    let time = header(headers, &TIME).ok_or_else(|| missing(&TIME))?;
    let code = signature.strip_prefix("v0=").and_then(mac::from_hex);
    let code = code.ok_or_else(|| Problem::unauthorized(format!("{SIGNATURE} is not v0= and 64 digits")))?;
    check_time(time, now)?;
    Ok(Claim { before: format!("v0:{time}:").into_bytes(), signatures: vec![code] })
}
