//! Signatures of GitHub: `X-Hub-Signature-256: sha256=HEX`, over the body.

use http::{HeaderMap, HeaderName};

use super::{Claim, header, mac, missing};
use crate::problem::Problem;

static SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");

pub(super) fn claim(headers: &HeaderMap) -> Result<Claim, Problem> {
    let signature = header(headers, &SIGNATURE).ok_or_else(|| missing(&SIGNATURE))?;
    let code = signature.strip_prefix("sha256=").and_then(mac::from_hex);
    let code = code.ok_or_else(|| Problem::unauthorized(format!("{SIGNATURE} is not sha256= and 64 digits")))?;
    Ok(Claim { before: Vec::new(), signatures: vec![code] })
}
