//! Log lines of the host that a guest causes: refusals. For each delivery the first few are logged and the rest
//! counted.

use std::borrow::Cow;

use wasmpost_msg::cut;

/// How many different refusals to one delivery are told on their own.
const TOLD_MAX: usize = 8;
/// How much of a name that a guest gave is told, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// The refusals to one delivery.
#[derive(Default)]
pub(crate) struct Audit {
    told: Vec<(Kind, String)>,
    /// Those that were not told on their own, because there were too many or because they were told before.
    more: u64,
}

/// A request of a guest that was denied. The names come from the guest.
pub(crate) enum Denied<'a> {
    /// To publish to a topic.
    Topic(&'a str),
    /// To send a request to an origin.
    Origin(&'a str),
    /// To send a request to an origin whose address is not public.
    Address(&'a str, std::net::IpAddr),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Topic,
    Origin,
    Address,
}

impl Denied<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Topic(_) => Kind::Topic,
            Self::Origin(_) => Kind::Origin,
            Self::Address(..) => Kind::Address,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Topic(name) | Self::Origin(name) | Self::Address(name, _) => name,
        }
    }

    /// Logs it.
    pub(crate) fn tell(&self, receiver: &str, id: &str) {
        let name = short(self.name());
        let name = &*name;
        match self {
            Self::Topic(_) => tracing::warn!(receiver, id, topic = name, "publishing denied: no grant for the topic"),
            Self::Origin(_) => {
                tracing::warn!(receiver, id, origin = name, "HTTP request denied: no grant for the origin")
            }
            Self::Address(_, address) => {
                tracing::warn!(receiver, id, origin = name, %address, "HTTP request denied: the address is not public");
            }
        }
    }
}

impl Audit {
    /// Takes a refusal down, and says whether it is to be told on its own.
    pub(crate) fn take(&mut self, denied: &Denied<'_>) -> bool {
        let kind = denied.kind();
        let name = short(denied.name());
        let is_known = self.told.iter().any(|(known, told)| (*known, told.as_str()) == (kind, &*name));
        if is_known || self.told.len() >= TOLD_MAX {
            self.more += 1;
            return false;
        }
        self.told.push((kind, name.into_owned()));
        true
    }

    /// Logs how many refusals were not told on their own, if there were some.
    pub(crate) fn tell_rest(&self, receiver: &str, id: &str) {
        if self.more > 0 {
            tracing::warn!(receiver, id, denied = self.more, "more publishes or HTTP requests denied than are told");
        }
    }
}

/// As much of a name as is worth showing.
pub(crate) fn short(name: &str) -> Cow<'_, str> {
    cut(name, NAME_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_refusals_are_told_and_equal_ones_once() {
        let mut audit = Audit::default();
        let names: Vec<String> = (0..100).map(|number| format!("topic-{number}")).collect();
        let told = names.iter().chain(&names).filter(|name| audit.take(&Denied::Topic(name))).count();
        assert_eq!((told, audit.more), (TOLD_MAX, 200 - TOLD_MAX as u64));
        assert!(!audit.take(&Denied::Origin("http://a.test")), "there is one budget for all kinds");
        let mut audit = Audit::default();
        let told = ["a", "a", "b", "a"].map(|name| audit.take(&Denied::Topic(name)));
        assert_eq!((told, audit.more), ([true, false, true, false], 2));
        assert!(audit.take(&Denied::Origin("a")), "one of another kind is another");
    }
}
