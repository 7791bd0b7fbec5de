//! Signatures: what a sender shows to prove who it is, checked before anything is stored.

mod bearer;
mod github;
mod mac;
mod slack;
mod standard;
mod stripe;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};

use crate::problem::Problem;
use mac::Key;

/// How far the time of a signature may be from the time here.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// The most secrets that are accepted at a time.
const SECRETS_MAX: usize = 8;

/// A method by which senders prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `X-Hub-Signature-256` of GitHub.
    GitHub,
    /// `Stripe-Signature`.
    Stripe,
    /// `X-Slack-Signature`.
    Slack,
    /// `webhook-signature` of the Standard Webhooks specification.
    Standard,
    /// A token in the header `Authorization`.
    Bearer,
    /// Anybody is let in.
    None,
}

/// The check of a request, with the secrets for it. Printing it shows none of them.
#[derive(Debug, Clone)]
pub struct Signature {
    method: Method,
    keys: Vec<Key>,
}

/// A reason why there can be no such check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The method needs a secret.
    #[error("this signature needs a secret; name a file or an environment variable that has it")]
    NoSecret,
    /// The method has no secret.
    #[error("signature \"none\" takes no secret; leave the secret out, or name a signature")]
    NeedlessSecret,
    /// There are more secrets than are tried for each request.
    #[error("there are {0} secrets, one in each line, and {SECRETS_MAX} are the most")]
    TooMany(usize),
    /// The secret is not written as it should be.
    #[error("a secret of Standard Webhooks is whsec_ and Base64, and line {0} is not")]
    NotBase64(usize),
}

/// The signature of a request, as its head tells it.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The bytes that are signed before the body.
    before: Vec<u8>,
    /// The signatures. One that fits is enough.
    signatures: Vec<Vec<u8>>,
}

impl Signature {
    /// A check with the secrets in a text, one in each line. A request is accepted with any of them, so that a new secret
    /// can be brought in before the old one is taken away.
    ///
    /// # Errors
    ///
    /// Where the method needs a secret and there is none, or the other way round, or where one is not written as the
    /// method has it.
    pub fn new(method: Method, secrets: Option<&SecretString>) -> Result<Self, SignatureError> {
        let text = secrets.map_or("", |secrets| secrets.expose_secret());
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if method == Method::None {
            let is_free = secrets.is_none();
            return if is_free { Ok(Self { method, keys: Vec::new() }) } else { Err(SignatureError::NeedlessSecret) };
        }
        if lines.is_empty() {
            return Err(SignatureError::NoSecret);
        }
        if lines.len() > SECRETS_MAX {
            return Err(SignatureError::TooMany(lines.len()));
        }
        let key = |(number, line): (usize, &&str)| match method {
            Method::Standard => standard::key(line).ok_or(SignatureError::NotBase64(number + 1)),
            _ => Ok(Key::new(line.as_bytes())),
        };
        Ok(Self { method, keys: lines.iter().enumerate().map(key).collect::<Result<_, _>>()? })
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Checks all that can be checked before the body is there.
    pub(crate) fn begin(&self, headers: &HeaderMap, now: SystemTime) -> Result<Claim, Problem> {
        match self.method {
            Method::GitHub => github::claim(headers),
            Method::Stripe => stripe::claim(headers, now),
            Method::Slack => slack::claim(headers, now),
            Method::Standard => standard::claim(headers, now),
            Method::Bearer => bearer::check(headers, &self.keys).map(|()| Claim::nothing()),
            Method::None => Ok(Claim::nothing()),
        }
    }

    /// Checks the signature over the body.
    pub(crate) fn end(&self, claim: &Claim, body: &[u8]) -> Result<(), Problem> {
        if matches!(self.method, Method::Bearer | Method::None) {
            return Ok(());
        }
        // Every secret is tried with every signature: how long it takes tells nothing about which of them fits.
        let fits = self.keys.iter().fold(false, |fits, key| key.fits(&[&claim.before, body], &claim.signatures) | fits);
        if fits {
            return Ok(());
        }
        Err(Problem::unauthorized("the signature does not fit the body; check that both sides have the same secret"))
    }
}

impl Signature {
    /// The text that a sender wants to see again, if it only tries the address.
    pub(crate) fn challenge(&self, body: &[u8]) -> Option<String> {
        if self.method == Method::Slack { slack::challenge(body) } else { None }
    }
}

impl Claim {
    fn nothing() -> Self {
        Self { before: Vec::new(), signatures: Vec::new() }
    }
}

/// The one value of a header, as text.
fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok().map(str::trim)
}

fn missing(name: &HeaderName) -> Problem {
    Problem::unauthorized(format!("header {name} is missing, is there twice, or cannot be read; sign the request"))
}

/// Checks that a time, in seconds since 1970, is near.
fn check_time(told: &str, now: SystemTime) -> Result<(), Problem> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let is_number = told.len() <= 12 && told.bytes().all(|byte| byte.is_ascii_digit());
    let told = told.parse::<u64>().ok().filter(|_| is_number);
    if told.is_some_and(|told| told.abs_diff(now) <= WINDOW.as_secs()) {
        return Ok(());
    }
    let minutes = WINDOW.as_secs() / 60;
    Err(Problem::unauthorized(format!(
        "the time of the signature is not within {minutes} minutes of the time here; sign the request anew"
    )))
}

#[cfg(test)]
mod tests;
