//! The body of a request: read within a bound, a time, and the memory that all bodies share.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::buffer::Buffer;
use crate::problem::Problem;

/// How long a sender waits that found no room for its body.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// The most that is read of a body that is refused, and for how long.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
const DISCARD_MAX: Duration = Duration::from_secs(2);
/// How long a sender waits while the host ends.
pub(crate) const STOP_WAIT: Duration = Duration::from_secs(5);

/// The bounds of one body.
pub(crate) struct Bounds<'a> {
    pub(crate) bytes_max: usize,
    /// When it has to be there.
    pub(crate) until: Instant,
    /// Ends the reading at once.
    pub(crate) leave: &'a CancellationToken,
}

/// Refuses a body that says itself that it is too large, before any of it is read.
pub(crate) fn check_told_length(body: &Incoming, bytes_max: usize) -> Result<(), Problem> {
    let told = body.size_hint().lower();
    if told > bytes_max as u64 { Err(Problem::too_large(bytes_max)) } else { Ok(()) }
}

/// Reads a whole body.
pub(crate) async fn read(body: &mut Incoming, bounds: &Bounds<'_>, buffer: &mut Buffer) -> Result<Bytes, Problem> {
    let mut all = BytesMut::new();
    while let Some(bytes) = next(body, bounds).await? {
        if all.len().saturating_add(bytes.len()) > bounds.bytes_max {
            return Err(Problem::too_large(bounds.bytes_max));
        }
        if !buffer.add(bytes.len()) {
            let detail = "there is no memory for the body now; send the request again later";
            return Err(Problem::unavailable(detail, ROOM_WAIT).ending());
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}

/// Reads what a sender is still sending of a body that is refused, a little and for a short time: the answer to a sender
/// whose connection is closed meanwhile may be lost.
pub(crate) async fn discard(body: &mut Incoming, leave: &CancellationToken) {
    let bounds = Bounds { bytes_max: DISCARDED_BYTES_MAX, until: Instant::now() + DISCARD_MAX, leave };
    let mut bytes = 0;
    while let Ok(Some(more)) = next(body, &bounds).await {
        bytes += more.len();
        if bytes > bounds.bytes_max {
            return;
        }
    }
}

/// The next bytes, or none at the end.
async fn next(body: &mut Incoming, bounds: &Bounds<'_>) -> Result<Option<Bytes>, Problem> {
    let read = async {
        while let Some(frame) = body.frame().await {
            // Trailers are of no use here.
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(bytes)) => return Ok(Some(bytes)),
                Ok(Err(_)) => {}
                Err(_) => return Err(Problem::bad_request("the body ended too early, or cannot be read").ending()),
            }
        }
        Ok(None)
    };
    tokio::select! {
        biased;
        read = timeout_at(bounds.until, read) => read.unwrap_or_else(|_| Err(Problem::timed_out())),
        () = bounds.leave.cancelled() => Err(leaving()),
    }
}

/// The answer to a request that is not there yet when the host ends, or when its connection makes room for others.
pub(crate) fn leaving() -> Problem {
    let detail = "the host ends, or needs the connection for others; nothing was stored, send the request again";
    Problem::unavailable(detail, STOP_WAIT).ending()
}
