//! The permissions of a component beyond receiving.

use std::net::SocketAddr;
use std::str::FromStr;

use wasmpost_msg::{qualified, tenant_of, topic_name_fault};

use super::origin::{HttpHost, HttpOrigin};

/// The permissions of a component beyond receiving. Nothing by default.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::Grants;
///
/// let grants = Grants {
///     tenant: Some("acme".into()),
///     publish: vec!["mails".parse()?, "reports.*".parse()?],
///     http: vec!["https://api.example.com".parse()?],
/// };
/// assert_eq!(grants.publish_to("reports.daily").as_deref(), Some("@acme/reports.daily"));
/// assert_eq!(grants.publish_to("orders"), None);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// The tenant that it belongs to. The topics that it names are those of the tenant.
    pub tenant: Option<String>,
    /// The topics that it may publish to.
    pub publish: Vec<TopicPattern>,
    /// The origins that it may send HTTP requests to. A name leads to public addresses only, unless the address is
    /// granted as well.
    pub http: Vec<HttpOrigin>,
}

/// The name of a topic, or the start of names.
///
/// # Examples
///
/// ```
/// use wasmpost_sandbox::TopicPattern;
///
/// let pattern: TopicPattern = "orders.*".parse()?;
/// assert!(pattern.matches("orders.new") && !pattern.matches("orders"));
/// assert!("or*ders".parse::<TopicPattern>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern {
    text: String,
    is_prefix: bool,
}

impl Grants {
    /// The topic that the component means by a name, if it may publish to it. Names that no topic can have are never
    /// granted, and what belongs to another tenant only by its whole name.
    pub fn publish_to(&self, topic: &str) -> Option<String> {
        let granted = topic_name_fault(topic).is_none() && self.publish.iter().any(|pattern| pattern.matches(topic));
        granted.then(|| match tenant_of(topic) {
            Some(_) => topic.to_owned(),
            None => qualified(self.tenant.as_deref(), topic),
        })
    }

    /// Whether the component may send HTTP requests to an origin, as far as its addresses allow.
    pub(crate) fn allow_http(&self, origin: &HttpOrigin) -> bool {
        self.http.contains(origin)
    }

    /// Whether an address is granted itself, so that it need not be public.
    pub(crate) fn allow_address(&self, address: SocketAddr) -> bool {
        let host = HttpHost::Address(address.ip());
        let port = address.port();
        self.http.iter().any(|origin| origin.host == host && origin.port == port)
    }
}

impl TopicPattern {
    /// Whether the topic is meant.
    pub fn matches(&self, topic: &str) -> bool {
        // Not even the prefix of all names reaches what belongs to a tenant.
        if self.is_prefix { topic.starts_with(&self.text) && !topic.starts_with('@') } else { topic == self.text }
    }

    /// The tenant whose topic is meant by its whole name, if one is.
    pub fn tenant(&self) -> Option<&str> {
        tenant_of(&self.text)
    }

    /// Whether every topic that `other` means is meant by this.
    pub fn covers(&self, other: &Self) -> bool {
        if self.is_prefix {
            other.text.starts_with(&self.text) && other.tenant().is_none()
        } else {
            !other.is_prefix && other.text == self.text
        }
    }
}

impl FromStr for TopicPattern {
    type Err = String;

    /// A topic's name, or a prefix of names that ends in `*`. Topics of another tenant have to be named whole, as
    /// `@tenant/topic`.
    fn from_str(pattern: &str) -> Result<Self, String> {
        let (text, is_prefix) = pattern.strip_suffix('*').map_or((pattern, false), |prefix| (prefix, true));
        if is_prefix && text.starts_with('@') {
            return Err(format!("{pattern:?}: topics of another tenant are granted by their whole names only"));
        }
        if topic_name_fault(text).is_some() && !(is_prefix && text.is_empty()) {
            return Err(format!("{pattern:?} is neither the name of a topic nor a prefix that ends in *"));
        }
        Ok(Self { text: text.to_owned(), is_prefix })
    }
}

impl std::fmt::Display for TopicPattern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}{}", self.text, if self.is_prefix { "*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(patterns: &[&str]) -> Grants {
        let publish = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        Grants { publish, ..Grants::default() }
    }

    #[test]
    fn an_address_is_granted_with_its_port_alone() {
        let http = ["http://10.0.0.7:8080", "https://[fd00::7]", "http://api.example.com"];
        let http = http.map(|origin| origin.parse().unwrap()).into();
        let grants = Grants { http, ..Grants::default() };
        for granted in ["10.0.0.7:8080", "[fd00::7]:443"] {
            assert!(grants.allow_address(granted.parse().unwrap()), "{granted}");
        }
        for other in ["10.0.0.7:80", "10.0.0.8:8080", "[fd00::7]:80", "[::ffff:10.0.0.7]:8080"] {
            assert!(!grants.allow_address(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn an_origin_is_granted_with_scheme_host_and_port() {
        let grants = Grants { http: vec!["https://api.example.com".parse().unwrap()], ..Grants::default() };
        assert!(grants.allow_http(&"https://API.example.com:443".parse().unwrap()));
        for other in ["http://api.example.com", "https://api.example.com:444", "https://a.api.example.com"] {
            assert!(!grants.allow_http(&other.parse().unwrap()), "{other}");
        }
    }

    fn allowed(grants: &Grants, topic: &str) -> bool {
        grants.publish_to(topic).is_some()
    }

    #[test]
    fn a_tenant_s_component_means_the_topics_of_the_tenant() {
        let grants = Grants { tenant: Some("acme".into()), ..grants(&["orders", "*", "@beta/inbox"]) };
        assert_eq!(grants.publish_to("orders").unwrap(), "@acme/orders");
        assert_eq!(grants.publish_to("beta/orders").unwrap(), "@acme/beta/orders");
        assert_eq!(grants.publish_to("@beta/inbox").unwrap(), "@beta/inbox", "granted by its whole name");
    }

    #[test]
    fn no_name_reaches_what_belongs_to_another_tenant() {
        for tenant in [None, Some("acme".to_owned())] {
            let grants = Grants { tenant, ..grants(&["*"]) };
            for name in
                ["@beta/inbox", "@acme/x", "@beta/", "@/inbox", "x/../@beta/inbox", "../@beta/inbox", "＠beta/inbox"]
            {
                assert_eq!(grants.publish_to(name), None, "{name:?}");
            }
        }
        assert!("@beta/*".parse::<TopicPattern>().unwrap_err().contains("whole names"));
    }

    #[test]
    fn a_name_grants_itself_alone() {
        let grants = grants(&["orders"]);
        assert!(allowed(&grants, "orders"));
        for other in ["orders2", "order", "Orders", "orders.new", ""] {
            assert!(!allowed(&grants, other), "{other}");
        }
    }

    #[test]
    fn a_prefix_grants_what_starts_with_it() {
        let grants = grants(&["github.*"]);
        assert!(allowed(&grants, "github.push"));
        assert!(!allowed(&grants, "github"));
        assert!(!allowed(&grants, "gitlab.push"));
    }

    #[test]
    fn no_grant_reaches_names_that_a_broker_could_misread() {
        let grants = grants(&["*"]);
        for name in ["", "*", ">", "a b", "../x", "a/../b", "a\n", "ﬁle", "a*"] {
            assert!(!allowed(&grants, name), "{name:?}");
        }
        assert!(allowed(&grants, "anything"));
    }

    #[test]
    fn a_pattern_covers_what_means_no_more() {
        let covers = |wide: &str, narrow: &str| wide.parse::<TopicPattern>().unwrap().covers(&narrow.parse().unwrap());
        assert!(covers("a.*", "a.b") && covers("a.*", "a.b.*") && covers("a", "a") && covers("*", "*"));
        assert!(!covers("*", "@beta/x") && covers("@beta/x", "@beta/x"));
        assert!(!covers("a.*", "a*") && !covers("a", "a*") && !covers("a", "b") && !covers("a.*", "*"));
    }

    #[test]
    fn a_broken_pattern_is_refused_by_name() {
        for pattern in ["", "a*b", "**", "a b"] {
            assert!(pattern.parse::<TopicPattern>().unwrap_err().contains(pattern));
        }
    }
}
