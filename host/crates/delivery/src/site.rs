//! The place of a server, by which two URLs of one broker are recognised.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// The servers of a broker, and the place on them that has its messages.
///
/// # Examples
///
/// ```
/// use wasmpost_delivery::Site;
///
/// let one = Site::new("nats", [("Broker.test".to_owned(), None)], "jobs");
/// let other = Site::new("nats", [("broker.test.".to_owned(), None)], "jobs");
/// assert!(one.is_same(&other));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    kind: &'static str,
    servers: BTreeSet<(String, Option<u16>)>,
    place: String,
}

impl Site {
    /// The place `place`, such as a stream or a virtual host, on servers of one kind that are told by host and port. The
    /// port is none where it is the default one.
    pub fn new(
        kind: &'static str,
        servers: impl IntoIterator<Item = (String, Option<u16>)>,
        place: impl Into<String>,
    ) -> Self {
        let servers = servers.into_iter().map(|(host, port)| (canonical(&host), port)).collect();
        Self { kind, servers, place: place.into() }
    }

    /// Whether messages of both are in one place: a server that both name, and the same place on it.
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.place == other.place && !self.servers.is_disjoint(&other.servers)
    }
}

/// A host in one spelling. All names of this machine for itself are one.
fn canonical(host: &str) -> String {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_lowercase();
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) if address.is_loopback() => "localhost".to_owned(),
        Ok(address) => address.to_string(),
        Err(_) => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(servers: &[(&str, Option<u16>)], place: &str) -> Site {
        Site::new("nats", servers.iter().map(|(host, port)| ((*host).to_owned(), *port)), place)
    }

    #[test]
    fn a_server_is_the_same_by_every_spelling_of_its_address() {
        let one = site(&[("Broker.test", None)], "jobs");
        assert!(one.is_same(&site(&[("broker.test.", None)], "jobs")));
        assert!(one.is_same(&site(&[("other.test", None), ("broker.test", None)], "jobs")));
        assert!(site(&[("127.0.0.1", None)], "/").is_same(&site(&[("[::1]", None)], "/")));
        assert!(site(&[("localhost", None)], "/").is_same(&site(&[("::ffff:127.0.0.1", None)], "/")));
        assert!(site(&[("[2001:db8:0::1]", None)], "/").is_same(&site(&[("2001:db8::1", None)], "/")));
    }

    #[test]
    fn another_place_port_or_server_is_another_broker() {
        let one = site(&[("broker.test", None)], "jobs");
        for other in [
            site(&[("broker.test", None)], "mail"),
            site(&[("broker.test", Some(4223))], "jobs"),
            site(&[("broker2.test", None)], "jobs"),
        ] {
            assert!(!one.is_same(&other), "{other:?}");
        }
    }
}
