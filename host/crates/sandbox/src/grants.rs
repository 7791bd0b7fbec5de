//! What a component may do beyond receiving.

use std::str::FromStr;

use wasmpost_msg::{qualified, tenant_of, topic_name_fault};

/// What a component may do beyond receiving. Nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// The tenant that it belongs to. The topics that it names are those of the tenant.
    pub tenant: Option<String>,
    /// The topics that it may publish to.
    pub publish: Vec<TopicPattern>,
}

/// The name of a topic, or the start of names.
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
        Grants { publish: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect(), ..Grants::default() }
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
