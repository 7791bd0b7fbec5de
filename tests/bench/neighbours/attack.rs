//! The attacks: a guest, and how it is fed.

/// An attack by a tenant on its neighbours.
pub(crate) struct Attack {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) guest: &'static str,
    /// Messages that wait for the guest from the start.
    pub(crate) messages: usize,
    /// The topics that it may publish to.
    pub(crate) publish: &'static str,
    /// Whether its component is changed and compiled all the time.
    pub(crate) recompiled: bool,
}

const fn attack(id: &'static str, what: &'static str, guest: &'static str, messages: usize) -> Attack {
    Attack { id, what, guest, messages, publish: "", recompiled: false }
}

/// One for each way in which a guest can take what others need.
pub(crate) const ATTACKS: &[Attack] = &[
    attack("A01", "endless loops", "a01-loop", 2_000),
    attack("A01", "loops of cheap host calls", "a01-host-calls", 2_000),
    attack("A03", "touches all memory it can get", "a03-touch", 20_000),
    attack("A05", "endless recursion", "a05-recursion", 20_000),
    attack("A06", "writes log without end", "a06-log-lines", 20_000),
    attack("A07", "returns errors of 100 MiB", "a07-error-text", 20_000),
    attack("A11", "asks for topics that nobody granted", "a11-flood", 20_000),
    Attack { publish: "*", ..attack("A12", "publishes without end", "a12-flood", 20_000) },
    Attack { recompiled: true, ..attack("A16", "is compiled all the time", "webhook-triage", 0) },
    Attack { publish: "*", ..attack("A21", "passes the longest lists to the host", "a21-calls", 2_000) },
    attack("A20", "sleeps in every slot", "a20-sleep", 2_000),
    attack("A20", "floods with tiny messages", "noop", 300_000),
];
