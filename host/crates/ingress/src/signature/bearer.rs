//! A token that is shown as it is.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::header;
use super::mac::Key;
use crate::problem::Problem;

/// Checks the token of a request.
pub(super) fn check(headers: &HeaderMap, keys: &[Key]) -> Result<(), Problem> {
    let given = header(headers, &AUTHORIZATION).and_then(|value| value.split_once(' '));
    let token = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let Some(token) = token else {
        return Err(Problem::without_token("a token is missing; send it as Authorization: Bearer TOKEN"));
    };
    // All of them are compared, whichever fits.
    if keys.iter().fold(false, |fits, key| key.is(token.as_bytes()) | fits) {
        return Ok(());
    }
    Err(Problem::without_token("the token is not one that is accepted here; use one that is"))
}
