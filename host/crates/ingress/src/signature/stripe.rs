//! Signatures of Stripe: `Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX]`, over the time, a dot and the body.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName};

use super::{Claim, check_time, header, mac, missing};
use crate::problem::Problem;

static SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");
/// The most signatures of one request. There are several while a secret is replaced.
const SIGNATURES_MAX: usize = 8;

pub(super) fn claim(headers: &HeaderMap, now: SystemTime) -> Result<Claim, Problem> {
    let value = header(headers, &SIGNATURE).ok_or_else(|| missing(&SIGNATURE))?;
    let pairs = || value.split(',').filter_map(|pair| pair.trim().split_once('='));
    let mut times = pairs().filter(|(name, _)| *name == "t").map(|(_, time)| time);
    // Others are of schemes that prove nothing.
    let codes = pairs().filter(|(name, _)| *name == "v1").filter_map(|(_, code)| mac::from_hex(code));
    let signatures: Vec<_> = codes.take(SIGNATURES_MAX).collect();
    let (Some(time), None, false) = (times.next(), times.next(), signatures.is_empty()) else {
        return Err(Problem::unauthorized(format!("{SIGNATURE} has no time t= and signature v1=")));
    };
    check_time(time, now)?;
    Ok(Claim { before: format!("{time}.").into_bytes(), signatures })
}
