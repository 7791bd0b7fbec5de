//! Admission of requests: those to granted origins, as many as a delivery may make and have open.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Method, Scheme};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{RequestOptions, WasiHttpCtx};

use super::audit::Denied;
use super::log::GuestLog;
use super::origin::HttpOrigin;
use super::state::Shared;
use crate::limits::Meter;

/// The shortest timeout of a guest, so that none is zero.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// How much later than the call a request ends that was given as long as the call has or longer: the end of the call
/// says what happened, and takes the request with it.
const TIMEOUT_GRACE: Duration = Duration::from_secs(1);

/// The HTTP of one delivery.
pub(crate) struct Http {
    pub(crate) context: WasiHttpCtx,
    pub(crate) requests: Requests,
}

/// The requests of one delivery.
pub(crate) struct Requests {
    shared: Arc<Shared>,
    log: Arc<GuestLog>,
    /// The time of the call, and what pays for the work of the host.
    meter: Arc<Meter>,
    payer: Arc<Meter>,
    /// How many messages the call has.
    messages: u32,
    admission: Admission,
    /// The request that was admitted and is handed over now.
    pub(crate) admitted: Option<Admitted>,
}

/// Counts the requests of a delivery.
struct Admission {
    made: u32,
    made_max: u32,
    open: Arc<Semaphore>,
}

/// A request that may be sent.
pub(crate) struct Admitted {
    pub(crate) shared: Arc<Shared>,
    /// Where it is noted down if the request is denied after all.
    pub(crate) log: Arc<GuestLog>,
    /// The meter that pays for the work of the host.
    pub(crate) payer: Arc<Meter>,
    /// How much of its time the host may use.
    pub(crate) cpu_budget: Duration,
    pub(crate) origin: HttpOrigin,
    /// Its place among the open requests of the delivery.
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) timeouts: Timeouts,
}

/// The parts of a request that decide whether it is sent.
pub(crate) struct Asked<'a> {
    method: &'a str,
    scheme: &'a str,
    authority: &'a str,
}

/// How long the parts of a request may take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// To look up the name, connect and greet.
    pub(crate) connect: Duration,
    /// To send the request and get the head of the response.
    pub(crate) first_byte: Duration,
    /// Between two pieces of the response's body.
    pub(crate) between_bytes: Duration,
}

impl Requests {
    /// Those of a call that has so many messages.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        log: &Arc<GuestLog>,
        meter: &Arc<Meter>,
        payer: &Arc<Meter>,
        messages: u32,
    ) -> Self {
        let admission = Admission::new(shared, messages);
        let shared = Arc::clone(shared);
        let log = Arc::clone(log);
        let meter = Arc::clone(meter);
        let payer = Arc::clone(payer);
        Self { shared, log, meter, payer, messages, admission, admitted: None }
    }

    /// Checks a request, which may be sent if it is let through.
    pub(crate) fn admit(&mut self, asked: &Asked<'_>, options: RequestOptions) -> Result<Admitted, ErrorCode> {
        let (origin, permit) = self.admission.admit(&self.shared, &self.log, asked)?;
        let limits = &self.shared.limits;
        let left = limits.wall.0.saturating_mul(self.messages).saturating_sub(self.meter.wall());
        let cpu_budget = limits.cpu.0.saturating_mul(self.messages);
        let shared = Arc::clone(&self.shared);
        let log = Arc::clone(&self.log);
        let payer = Arc::clone(&self.payer);
        Ok(Admitted { shared, log, payer, cpu_budget, origin, permit, timeouts: Timeouts::new(options, left) })
    }
}

impl Admission {
    fn new(shared: &Shared, messages: u32) -> Self {
        let made_max = shared.limits.http_requests.saturating_mul(messages);
        let open = (shared.limits.http_open as usize).min(Semaphore::MAX_PERMITS);
        Self { made: 0, made_max, open: Arc::new(Semaphore::new(open)) }
    }

    /// The origin of a request and its place, if the request may be sent. Whatever becomes of it, it counts: what
    /// refusals cost has a bound as well.
    fn admit(
        &mut self,
        shared: &Shared,
        log: &GuestLog,
        asked: &Asked<'_>,
    ) -> Result<(HttpOrigin, OwnedSemaphorePermit), ErrorCode> {
        if self.made >= self.made_max {
            let text = format!("a delivery may make {} HTTP requests", shared.limits.http_requests);
            return Err(ErrorCode::InternalError(Some(text)));
        }
        self.made += 1;
        // A tunnel would lead from the granted origin to others.
        if asked.method.eq_ignore_ascii_case("CONNECT") {
            return Err(ErrorCode::HttpRequestMethodInvalid);
        }
        let origin = asked
            .origin()
            .and_then(|origin| if shared.grants.allow_http(&origin) { Ok(origin) } else { Err(origin.to_string()) });
        let origin = origin.map_err(|denied| {
            log.denied(&Denied::Origin(&denied));
            ErrorCode::HttpRequestDenied
        })?;
        let permit = Arc::clone(&self.open).try_acquire_owned().map_err(|_| ErrorCode::ConnectionLimitReached)?;
        Ok((origin, permit))
    }
}

impl Timeouts {
    fn new(asked: RequestOptions, left: Duration) -> Self {
        let end = left.saturating_add(TIMEOUT_GRACE);
        let clamped = |asked: Option<Duration>| match asked {
            Some(asked) if asked < left => asked.max(TIMEOUT_MIN),
            _ => end,
        };
        Self {
            connect: clamped(asked.connect_timeout),
            first_byte: clamped(asked.first_byte_timeout),
            between_bytes: clamped(asked.between_bytes_timeout),
        }
    }
}

impl<'a> Asked<'a> {
    /// The relevant parts of a request of WASI 0.2.
    pub(crate) fn by(request: &'a HostOutgoingRequest) -> Self {
        let method = match &request.method {
            Method::Connect => "CONNECT",
            Method::Other(method) => method,
            _ => "",
        };
        let scheme = match &request.scheme {
            Some(Scheme::Http) => "http",
            Some(Scheme::Https) | None => "https",
            Some(Scheme::Other(scheme)) => scheme,
        };
        Self { method, scheme, authority: request.authority.as_deref().unwrap_or_default() }
    }

    /// The relevant parts of a request of WASI 0.3.
    pub(crate) fn by_head<B>(request: &'a http::Request<B>) -> Self {
        let method = request.method().as_str();
        let uri = request.uri();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Self { method, scheme: uri.scheme_str().unwrap_or("https"), authority }
    }

    /// The origin, or the text if it is not an origin.
    fn origin(&self) -> Result<HttpOrigin, String> {
        let text = format!("{}://{}", self.scheme, self.authority);
        text.parse().map_err(|_| text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_longer_than_nothing_and_end_with_the_call() {
        let left = Duration::from_secs(5);
        let second = Duration::from_secs(1);
        let asked = RequestOptions {
            connect_timeout: Some(Duration::ZERO),
            first_byte_timeout: Some(second),
            between_bytes_timeout: Some(Duration::MAX),
        };
        let clamped = Timeouts { connect: TIMEOUT_MIN, first_byte: second, between_bytes: left + TIMEOUT_GRACE };
        assert_eq!(Timeouts::new(asked, left), clamped);
        let unasked = Timeouts::new(RequestOptions::default(), Duration::ZERO);
        assert_eq!([unasked.connect, unasked.first_byte, unasked.between_bytes], [TIMEOUT_GRACE; 3]);
    }
}
