//! Origins of HTTP: scheme, host and port, in one spelling, so that comparing them is comparing what they mean.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest name of a host, and the longest part of one between its dots.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// An origin of HTTP requests: `scheme://host` or `scheme://host:port`. The host is a name or an address.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::HttpOrigin;
///
/// let origin: HttpOrigin = "https://api.example.com".parse()?;
/// assert_eq!(origin, "HTTPS://API.example.com:443".parse()?);
/// assert!("https://api.example.com/path".parse::<HttpOrigin>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpOrigin {
    pub(crate) is_tls: bool,
    pub(crate) host: HttpHost,
    pub(crate) port: u16,
}

/// The host of an origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum HttpHost {
    /// In lower case.
    Name(String),
    Address(IpAddr),
}

impl HttpOrigin {
    /// The host, and the port where it is not that of the scheme: what the header `Host` says.
    pub(crate) fn authority(&self) -> String {
        let default = if self.is_tls { 443 } else { 80 };
        if self.port == default { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl FromStr for HttpOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = |what: &str| format!("{text:?} is no origin such as \"https://api.example.com\": {what}");
        let (scheme, authority) = text.split_once("://").ok_or_else(|| fault("it has no scheme"))?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(fault("the scheme is neither http nor https")),
        };
        match authority {
            _ if authority.contains('*') => return Err(fault("patterns are not supported, name each host")),
            _ if authority.contains('@') => return Err(fault("it names a user")),
            _ if authority.contains(['/', '?', '#', '\\']) => return Err(fault("nothing follows the host and port")),
            _ => {}
        }
        let (host, port) = split(authority).map_err(fault)?;
        let port = match port {
            None if is_tls => 443,
            None => 80,
            Some(port) => port_number(port).ok_or_else(|| fault("the port is not a number from 1 to 65535"))?,
        };
        Ok(Self { is_tls, host: host.parse().map_err(fault)?, port })
    }
}

impl FromStr for HttpHost {
    type Err = &'static str;

    fn from_str(host: &str) -> Result<Self, &'static str> {
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let address = address.parse::<Ipv6Addr>().map_err(|_| "the text in brackets is not an IPv6 address")?;
            return Ok(Self::Address(address.into()));
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let is_label = |label: &str| {
            let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-' || letter == b'_';
            (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_letter)
        };
        if host.len() > NAME_BYTES_MAX || !host.split('.').all(is_label) {
            return Err("the host is neither a name nor an address");
        }
        // Resolvers read 127.1, 0x7f000001 and 2130706433 as addresses.
        if host.rsplit('.').next().is_some_and(is_number) {
            return Err("the host is not a name, and not an address in its usual form");
        }
        Ok(Self::Name(host.to_ascii_lowercase()))
    }
}

/// Whether the last part of a host makes it an address, in decimal, octal or hexadecimal digits.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hexadecimal.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        || label.bytes().all(|digit| digit.is_ascii_digit())
}

/// Host and port as they are written.
fn split(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    let host_bytes = match authority.find(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(host_bytes);
    match rest.strip_prefix(':') {
        Some(port) if port.contains(':') => Err("an IPv6 address has to be in brackets"),
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err("nothing but a port follows an address in brackets"),
    }
}

fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

impl fmt::Display for HttpHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(formatter),
            Self::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]"),
        }
    }
}

impl fmt::Display for HttpOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", if self.is_tls { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> HttpOrigin {
        text.parse().unwrap()
    }

    #[test]
    fn an_origin_has_one_spelling() {
        let cases = [
            ("https://api.example.com", "https://api.example.com"),
            ("https://API.Example.com:443", "https://api.example.com"),
            ("HTTP://a:80", "http://a"),
            ("http://a:443", "http://a:443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://[::1]", "https://[::1]"),
            ("http://[2001:DB8:0:0::1]:81", "http://[2001:db8::1]:81"),
            ("http://xn--mnchen-3ya.de", "http://xn--mnchen-3ya.de"),
        ];
        for (text, spelling) in cases {
            assert_eq!(origin(text).to_string(), spelling);
            assert_eq!(origin(spelling), origin(text));
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_by_name_and_reason() {
        let cases = [
            ("api.example.com", "no scheme"),
            ("ftp://a", "neither http nor https"),
            ("https://*.example.com", "patterns are not supported"),
            ("https://*", "patterns are not supported"),
            ("https://user@a", "names a user"),
            ("https://a/", "nothing follows"),
            ("https://a\\b", "nothing follows"),
            ("https://a:", "the port"),
            ("https://a:0", "the port"),
            ("https://a:+80", "the port"),
            ("https://a:65536", "the port"),
            ("https://::1", "in brackets"),
            ("https://[::1", "in brackets"),
            ("https://[fe80::1%eth0]", "not an IPv6 address"),
            ("https://[1.2.3.4]", "not an IPv6 address"),
            ("https://[::1]a", "nothing but a port"),
            ("https://", "neither a name"),
            ("https://a..b", "neither a name"),
            ("https://a.", "neither a name"),
            ("https://a b", "neither a name"),
            ("https://a\r\nb", "neither a name"),
            ("https://münchen.de", "neither a name"),
            ("http://127.1", "usual form"),
            ("http://2130706433", "usual form"),
            ("http://0x7f.0.0.1", "usual form"),
            ("http://0x7f000001", "usual form"),
            ("http://0177.0.0.1", "usual form"),
        ];
        for (text, reason) in cases {
            let fault = text.parse::<HttpOrigin>().unwrap_err();
            assert!(fault.contains(reason) && fault.contains(&format!("{text:?}")), "{fault}");
        }
    }
}
