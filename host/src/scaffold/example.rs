//! The examples that a project can begin with: the topics of their receivers, and a message to try them with.

use clap::ValueEnum;

/// The example that a new project begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
#[non_exhaustive]
pub enum Example {
    /// Publishes each message as it is: a few lines, to begin with.
    #[default]
    Echo,
    /// The same with several messages in one call.
    Batch,
    /// Sorts the webhooks of GitHub: every kind of failure, attributes, configuration, and the log.
    Webhooks,
}

impl Example {
    /// The topics to which its receiver publishes.
    pub(super) fn topics(self) -> &'static str {
        match self {
            Self::Echo | Self::Batch => "out",
            Self::Webhooks => "github.*",
        }
    }

    /// The queue that its configuration names.
    pub(super) fn queue(self) -> &'static str {
        match self {
            Self::Echo | Self::Batch => "in",
            Self::Webhooks => "webhooks",
        }
    }

    /// The body of a message to try it with, as a shell writes it.
    pub(super) fn sample(self) -> &'static str {
        match self {
            Self::Echo | Self::Batch => "hello",
            Self::Webhooks => "'{}'",
        }
    }

    /// The attributes of that message, as arguments that end with a space.
    pub(super) fn sample_attributes(self) -> &'static str {
        match self {
            Self::Echo | Self::Batch => "",
            Self::Webhooks => "--attribute X-Github-Event=ping ",
        }
    }
}
