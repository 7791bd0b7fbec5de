//! A path at which messages are taken: from a request to its answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_ENCODING, EXPECT, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use hyper::body::{Body, Incoming};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::{Instant, timeout};
use wasmpost_delivery::{Broker, BrokerError, BrokerErrorKind, Receipt};
use wasmpost_msg::{Publication, chain};

use crate::body::{Bounds, check_told_length, discard, leaving, read};
use crate::buffer::Buffers;
use crate::complaints::Complaints;
use crate::connections::{Phase, Place};
use crate::events::Form;
use crate::message::{form_of, publications};
use crate::options::EndpointOptions;
use crate::problem::{Answer, Problem, json};
use crate::rate::Rate;
use crate::signature::Method;

/// How long the broker may take to confirm.
pub(crate) const STORE_MAX: Duration = Duration::from_secs(10);
/// How long a sender waits until a broker that is away may be there again.
const AWAY_WAIT: Duration = Duration::from_secs(5);
/// The same for room on a disk, or in a quota.
const ROOM_WAIT: Duration = Duration::from_secs(30);

/// A path at which messages are taken.
pub struct Endpoint {
    options: EndpointOptions,
    broker: Arc<dyn Broker>,
    rate: Option<Rate>,
    unsigned: Complaints,
    failed: Complaints,
    /// How many requests were answered with each status.
    answers: Mutex<BTreeMap<u16, u64>>,
}

/// The answer to a request that became one message, or a list of such answers.
#[derive(Serialize)]
#[serde(untagged)]
enum Taken {
    One(Receipt),
    Batch { messages: Vec<Receipt> },
}

/// The answer to a sender that tries the address.
#[derive(Serialize)]
struct Tried {
    challenge: String,
}

impl Endpoint {
    /// The path that the options tell, with messages stored by `broker`.
    pub fn new(options: EndpointOptions, broker: Arc<dyn Broker>) -> Self {
        let rate = options.rate.map(Rate::new);
        let unsigned = Complaints::default();
        let failed = Complaints::default();
        Self { options, broker, rate, unsigned, failed, answers: Mutex::default() }
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.options.path
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        &self.options.topic
    }

    /// Takes a request, and answers it.
    pub(crate) async fn take(&self, request: Request<Incoming>, place: &Place, buffers: &Arc<Buffers>) -> Answer {
        let (head, mut body) = request.into_parts();
        let taken = self.taken(&head, &mut body, place, buffers).await;
        let answer = taken.unwrap_or_else(|problem| {
            self.complain(&problem);
            problem.answer()
        });
        // A sender that asks first whether to send its body sends none.
        if answer.status().is_client_error() && !body.is_end_stream() && !head.headers.contains_key(EXPECT) {
            discard(&mut body, &place.leave).await;
        }
        *self.answers.lock().entry(answer.status().as_u16()).or_default() += 1;
        answer
    }

    /// How many requests were answered with each status.
    pub fn answers(&self) -> BTreeMap<u16, u64> {
        self.answers.lock().clone()
    }

    async fn taken(
        &self,
        head: &Parts,
        body: &mut Incoming,
        place: &Place,
        buffers: &Arc<Buffers>,
    ) -> Result<Answer, Problem> {
        let until = Instant::now() + self.options.time;
        let now = SystemTime::now();
        // Everything that the head tells is checked before the body is read.
        self.check(&head.method, &head.headers)?;
        let form = form_of(&self.options, &head.headers)?;
        let claim = self.options.signature.begin(&head.headers, now)?;
        check_told_length(body, self.options.body_bytes_max)?;
        self.rate.as_ref().and_then(Rate::wait).map_or(Ok(()), |wait| Err(over_rate(wait)))?;
        let bounds = Bounds { bytes_max: self.options.body_bytes_max, until, leave: &place.leave };
        let mut buffer = buffers.begin();
        let body = read(body, &bounds, &mut buffer).await?;
        self.options.signature.end(&claim, &body)?;
        if let Some(challenge) = self.options.signature.challenge(&body) {
            return Ok(json(StatusCode::OK, "application/json", &Tried { challenge }));
        }
        let messages = publications(&self.options, form, &head.headers, body)?;
        self.rate.as_ref().map_or(Ok(()), |rate| rate.take(messages.len())).map_err(over_rate)?;
        place.set(Phase::Storing);
        if place.leave.is_cancelled() {
            return Err(leaving());
        }
        let receipts = self.store(messages).await?;
        drop(buffer);
        Ok(accepted(receipts, form == Form::Batched))
    }

    fn check(&self, method: &http::Method, headers: &HeaderMap) -> Result<(), Problem> {
        if method != http::Method::POST {
            return Err(Problem::not_allowed());
        }
        // Browsers send for any page that is open in them, to addresses of this machine too.
        let is_of_page = headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site");
        if is_of_page && self.options.signature.method() == Method::None {
            return Err(Problem::of_page());
        }
        let encodings = headers.get_all(CONTENT_ENCODING).iter();
        let is_plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if encodings.into_iter().all(is_plain) { Ok(()) } else { Err(Problem::encoded()) }
    }

    /// Stores messages, and waits until the broker has confirmed all of them.
    async fn store(&self, messages: Vec<Publication>) -> Result<Vec<Receipt>, Problem> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let count = messages.len();
        let broker = Arc::clone(&self.broker);
        let storing = async move { timeout(STORE_MAX, broker.publish(messages)).await };
        let stored = match count {
            1 => storing.await,
            // A sender that goes away leaves no batch half stored.
            _ => tokio::spawn(storing).await.map_err(|error| self.failed(&error))?,
        };
        match stored {
            Ok(stored) => stored.map_err(|error| self.refused(&error, count)),
            Err(slow) => Err(self.failed(&slow)),
        }
    }

    fn refused(&self, error: &BrokerError, count: usize) -> Problem {
        match error.kind() {
            BrokerErrorKind::Invalid => Problem::bad_request(error.context()),
            BrokerErrorKind::Full if error.is_of_quota() => {
                Problem::too_many("the quota of messages is used up; send the request again later", ROOM_WAIT)
            }
            BrokerErrorKind::Limit if count > 1 => {
                let detail = "these are more messages at once than the quota ever has room for; send fewer at a time";
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
            }
            BrokerErrorKind::Limit => {
                Problem::too_many("the quota of topics without a queue is used up; send the request later", ROOM_WAIT)
            }
            BrokerErrorKind::Full => {
                self.tell(error);
                Problem::unavailable("there is no room to store messages; send the request again later", ROOM_WAIT)
            }
            _ => self.failed(error),
        }
    }

    /// A message of which nobody knows whether it was stored.
    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> Problem {
        self.tell(error);
        let detail = "nothing is stored now, or it was not confirmed; send the request again later, under the same id";
        Problem::unavailable(detail, AWAY_WAIT)
    }

    fn tell(&self, error: &(dyn std::error::Error + 'static)) {
        if let Some(requests) = self.failed.add() {
            let path = self.path();
            let topic = self.topic();
            tracing::error!(path, topic, requests, error = %chain(error), "requests were not stored, and are refused");
        }
    }

    fn complain(&self, problem: &Problem) {
        let path = self.path();
        tracing::debug!(path, status = problem.status.as_u16(), "request refused");
        if problem.status == StatusCode::UNAUTHORIZED
            && let Some(requests) = self.unsigned.add()
        {
            tracing::warn!(path, requests, "requests that are not signed as configured were refused");
        }
    }
}

fn over_rate(wait: Duration) -> Problem {
    Problem::too_many("this is over the rate of messages that are taken; send the request again later", wait)
}

/// The answer to a request whose messages are stored.
fn accepted(mut receipts: Vec<Receipt>, is_batch: bool) -> Answer {
    let one = if is_batch { None } else { receipts.pop() };
    let taken = one.map_or_else(|| Taken::Batch { messages: receipts }, Taken::One);
    json(StatusCode::ACCEPTED, "application/json", &taken)
}
