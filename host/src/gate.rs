//! The gate in front of everything that reads or changes a host: by HTTP, on the page, and through the control socket.
//!
//! [`allowed`] decides, and nothing else does. The table of actions here is the one in SECURITY.md.

use serde::{Deserialize, Serialize};

/// The rights of a caller. Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at everything but the bodies of messages.
    Read,
    /// Looks at bodies as well, publishes, redrives, reloads.
    Operate,
    /// Deletes as well.
    Admin,
}

/// A caller that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name of its token, for the audit.
    pub name: String,
    /// Its rights.
    pub role: Role,
    /// The tenant whose things are all that it sees, if it is bound to one.
    pub tenant: Option<String>,
}

/// The thing that a caller wants to see or change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing<'a> {
    /// None in particular: a list, which leaves out what the caller may not see.
    Any,
    /// One that belongs to this tenant, or to none.
    Of(Option<&'a str>),
}

/// The answer of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The caller may.
    Yes,
    /// Nobody knows the caller: 401.
    Unknown,
    /// The caller is known and may not: 403.
    Forbidden,
    /// The thing is another tenant's, so there is no such thing: 404.
    Hidden,
}

/// How far an action reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// One tenant's things.
    Tenant,
    /// The whole host: callers that are bound to a tenant may not.
    Host,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident = $word:literal, $role:expr, $reach:ident;)*) => {
        /// An action on a host.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub enum Action { $($(#[$doc])* $action,)* }

        impl Action {
            /// Every action there is.
            pub const ALL: &[Action] = &[$(Action::$action,)*];

            /// The words for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Action::$action => $word,)* }
            }

            /// The role that it takes, none for what everybody may, and how far it reaches.
            pub fn rule(self) -> (Option<Role>, Reach) {
                match self { $(Action::$action => ($role, Reach::$reach),)* }
            }
        }
    };
}

actions! {
    /// Asking whether the host lives and is ready.
    Probe = "probe health", None, Host;
    /// Loading the page, which has no data in it.
    OpenPage = "load the page, which has no data in it", None, Host;
    /// Looking at the queues and at how much lies in them.
    SeeQueues = "see queues, scale and what needs attention", Some(Role::Read), Tenant;
    /// Looking at the metrics of everything.
    SeeMetrics = "see metrics", Some(Role::Read), Host;
    /// Looking at dead letters without their bodies.
    SeeLetters = "see dead letters, without bodies", Some(Role::Read), Tenant;
    /// Looking at receivers.
    SeeReceivers = "see receivers", Some(Role::Read), Tenant;
    /// Looking at the last lines that guests wrote.
    SeeLogs = "see the logs of guests", Some(Role::Read), Tenant;
    /// Looking at the use and the limits of tenants.
    SeeTenants = "see tenants", Some(Role::Read), Tenant;
    /// Looking at tasks and at who changed something.
    SeeTasks = "see tasks and the audit", Some(Role::Read), Tenant;
    /// Looking at the description of the API.
    SeeDocument = "see the description of the API", Some(Role::Read), Tenant;
    /// Looking at the body of a message.
    SeeBodies = "see the body of a message", Some(Role::Operate), Tenant;
    /// Publishing a message.
    Publish = "publish a message", Some(Role::Operate), Tenant;
    /// Putting dead letters back.
    Redrive = "redrive dead letters", Some(Role::Operate), Tenant;
    /// Ending a task before its time.
    CancelTask = "cancel a task", Some(Role::Operate), Tenant;
    /// Loading components that have changed.
    Reload = "reload components", Some(Role::Operate), Host;
    /// Moving messages from one queue to a topic.
    Pipe = "pipe a queue (control socket alone)", Some(Role::Admin), Host;
    /// Deleting dead letters.
    Purge = "purge dead letters", Some(Role::Admin), Tenant;
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Admin];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl Caller {
    /// The user who runs the host, or root: whoever can open the control socket.
    pub fn local() -> Self {
        Self { name: "local".into(), role: Role::Admin, tenant: None }
    }
}

/// Whether a caller may do something to a thing.
pub fn allowed(caller: Option<&Caller>, action: Action, thing: Thing<'_>) -> Answer {
    let (needed, reach) = action.rule();
    let Some(needed) = needed else { return Answer::Yes };
    let Some(caller) = caller else { return Answer::Unknown };
    match (&caller.tenant, thing) {
        // Things of others do not exist, whatever the role.
        (Some(own), Thing::Of(tenant)) if tenant != Some(own.as_str()) => Answer::Hidden,
        (Some(_), _) if reach == Reach::Host => Answer::Forbidden,
        _ if caller.role < needed => Answer::Forbidden,
        _ => Answer::Yes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Role, tenant: Option<&str>) -> Caller {
        Caller { name: "test".into(), role, tenant: tenant.map(str::to_owned) }
    }

    #[test]
    fn nobody_unknown_does_more_than_probe_and_load_the_page() {
        let open: Vec<_> =
            Action::ALL.iter().filter(|action| allowed(None, **action, Thing::Any) == Answer::Yes).collect();
        assert_eq!(open, [&Action::Probe, &Action::OpenPage]);
    }

    #[test]
    fn a_role_may_all_that_lesser_roles_may() {
        for action in Action::ALL {
            let may = Role::ALL.map(|role| allowed(Some(&caller(role, None)), *action, Thing::Any) == Answer::Yes);
            assert!(may.is_sorted() && may[2], "{action:?}: {may:?}");
        }
    }

    #[test]
    fn what_is_of_another_tenant_does_not_exist_for_any_role() {
        for role in Role::ALL {
            let acme = caller(role, Some("acme"));
            for other in [Some("beta"), None] {
                assert_eq!(allowed(Some(&acme), Action::SeeLetters, Thing::Of(other)), Answer::Hidden);
                assert_eq!(allowed(Some(&acme), Action::Purge, Thing::Of(other)), Answer::Hidden);
            }
            assert_eq!(allowed(Some(&acme), Action::SeeLetters, Thing::Of(Some("acme"))), Answer::Yes);
            assert_eq!(allowed(Some(&acme), Action::Reload, Thing::Any), Answer::Forbidden);
            assert_eq!(allowed(Some(&acme), Action::SeeMetrics, Thing::Any), Answer::Forbidden);
        }
    }
}
