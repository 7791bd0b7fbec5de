//! The options of a path, and of the address that it belongs to.

use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderName;
use wasmpost_msg::{attribute_fault, canonical_name};

use crate::signature::Signature;
use crate::tls::{TlsFiles, acceptor};

/// Headers that prove who somebody is. They are not kept with messages.
const SECRET: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "set-cookie"];

/// The options of a path at which messages are taken.
#[derive(Debug, Clone)]
pub struct EndpointOptions {
    /// The path.
    pub path: String,
    /// The topic that messages are written to.
    pub topic: String,
    /// How senders prove who they are.
    pub signature: Signature,
    /// The headers that become attributes, beside Content-Type.
    pub headers: Vec<TakenHeader>,
    /// The header that has the id, which has to be there; that of the sender, where it is there, if none is named.
    pub id_header: Option<HeaderName>,
    /// The header that has the ordering key.
    pub key_header: Option<HeaderName>,
    /// How CloudEvents are taken.
    pub cloud_events: CloudEvents,
    /// The media types that are taken; all if none are named.
    pub content_types: Vec<String>,
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
    /// How many messages a second are taken; all if none.
    pub rate: Option<u32>,
    /// How long a request may take to arrive.
    pub time: Duration,
}

/// The way in which CloudEvents are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudEvents {
    /// They are taken as events, and other requests as they are.
    Accepted,
    /// Nothing else is taken.
    Required,
    /// They are taken as they are, as other requests.
    Ignored,
}

/// A header that becomes an attribute, or the beginning of such headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenHeader {
    /// In small letters, without the asterisk.
    name: String,
    spelling: String,
    is_prefix: bool,
}

/// An address that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerOptions {
    /// The address.
    pub address: SocketAddr,
    /// The certificate, if connections are encrypted.
    pub tls: Option<TlsFiles>,
    /// The most connections at a time.
    pub connections_max: usize,
}

impl ListenerOptions {
    /// Reads the certificate, as binding does.
    ///
    /// # Errors
    ///
    /// That of the system where a file cannot be read, and `InvalidData` for one that is no certificate or key.
    pub fn check(&self) -> std::io::Result<()> {
        self.tls.as_ref().map_or(Ok(()), |files| acceptor(files).map(drop))
    }
}

impl TakenHeader {
    /// The header that a text names, or the beginning of its name and an asterisk.
    ///
    /// # Errors
    ///
    /// Where the text is no name of a header, or of one that is not kept with a message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_prefix = text.ends_with('*');
        let spelling = text.strip_suffix('*').unwrap_or(text).to_owned();
        let name = spelling.to_ascii_lowercase();
        if spelling.contains('*') {
            return Err(format!("header {text:?} has an asterisk that is not at its end"));
        }
        // A prefix alone may be what no name is.
        if let Some(fault) = attribute_fault(if is_prefix { "x" } else { &spelling }, "") {
            return Err(fault);
        }
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(format!("{text:?} is no name of a header, nor the beginning of one and an asterisk"));
        }
        if !is_prefix && SECRET.contains(&name.as_str()) {
            return Err(format!("header {text:?} proves who somebody is and is not kept with messages; leave it out"));
        }
        Ok(Self { name, spelling, is_prefix })
    }

    /// The name of the attribute that a header becomes, if it is taken.
    pub(crate) fn attribute(&self, header: &HeaderName) -> Option<String> {
        let header = header.as_str();
        if !self.is_prefix {
            return (self.name == header).then(|| self.spelling.clone());
        }
        let is_taken = header.starts_with(&self.name) && !SECRET.contains(&header);
        // Those that belong to the host are left out.
        (is_taken && attribute_fault(header, "").is_none()).then(|| canonical_name(header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(taken: &str, header: &'static str) -> Option<String> {
        TakenHeader::parse(taken).unwrap().attribute(&HeaderName::from_static(header))
    }

    #[test]
    fn a_header_is_taken_by_its_name_or_by_the_beginning_of_it() {
        assert_eq!(attribute("X-GitHub-Event", "x-github-event").as_deref(), Some("X-GitHub-Event"));
        assert_eq!(attribute("X-GitHub-Event", "x-github-event-id"), None);
        assert_eq!(attribute("X-GitHub-*", "x-github-event").as_deref(), Some("X-Github-Event"));
        assert_eq!(attribute("X-GitHub-*", "x-hub"), None);
        for secret in ["authorization", "cookie", "wasmpost-id"] {
            assert_eq!(attribute(&format!("{}*", &secret[..1]), secret), None, "{secret}");
        }
    }

    #[test]
    fn names_that_are_none_and_those_that_prove_something_are_refused() {
        for name in ["", "*", "two words", "X-*-Y", "X-**", "Authorization", "COOKIE", "Wasmpost-Id"] {
            assert!(TakenHeader::parse(name).is_err(), "{name}");
        }
    }
}
