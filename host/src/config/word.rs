//! Values of the file that are checked as they are read, so that errors point at them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use wasmpost_delivery::topic_name_fault;
use wasmpost_msg::tenant_name_fault;
use wasmpost_sandbox::{CONCURRENT_MAX, HttpOrigin, TopicPattern};

use crate::registry::Address;

/// The name of a queue or topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) String);

/// The name of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TenantName(pub(crate) String);

/// The id of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostId(pub(super) String);

/// The URL of a broker.
#[derive(Debug, Clone)]
pub(super) struct BrokerUrl(pub(super) Address);

/// A topic, or a prefix of topics that ends in `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(pub(crate) TopicPattern);

/// An origin of HTTP requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin(pub(crate) HttpOrigin);

/// How many messages an instance may have at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Concurrent(pub(super) u32);

impl Default for Concurrent {
    fn default() -> Self {
        Self(1)
    }
}

impl<'de> Deserialize<'de> for Concurrent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        if (1..=CONCURRENT_MAX).contains(&number) {
            return Ok(Self(number));
        }
        Err(de::Error::custom(format!("{number} is not between 1 and {CONCURRENT_MAX}")))
    }
}

impl JsonSchema for Concurrent {
    fn schema_name() -> Cow<'static, str> {
        "Concurrent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": CONCURRENT_MAX })
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        topic_name_fault(name).map_or_else(|| Ok(Self(name.to_owned())), Err)
    }
}

impl FromStr for TenantName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        tenant_name_fault(name).map_or_else(|| Ok(Self(name.to_owned())), Err)
    }
}

impl FromStr for HostId {
    type Err = String;

    fn from_str(id: &str) -> Result<Self, String> {
        super::id_fault(id).map_or_else(|| Ok(Self(id.to_owned())), Err)
    }
}

impl FromStr for BrokerUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        Address::parse(url).map(Self).map_err(|error| error.to_string())
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(pattern: &str) -> Result<Self, String> {
        pattern.parse().map(Self)
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(origin: &str) -> Result<Self, String> {
        origin.parse().map(Self)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

macro_rules! from_text {
    ($type:ident, $description:literal, $example:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $description, "examples": [$example] })
            }
        }
    };
}

from_text!(Name, "The name of a queue or topic: letters, digits, and any of . _ - / :", "orders");
from_text!(TenantName, "The name of a tenant: letters, digits, and any of . _ -", "acme");
from_text!(HostId, "The id of a host: letters, digits, and any of . _ -", "worker-1");
from_text!(BrokerUrl, "A broker, such as sqlite:PATH or memory:", "sqlite:wasmpost.db");
from_text!(Pattern, "A topic, or a prefix of topics that ends in *", "github.*");
from_text!(Origin, "Where HTTP requests go: scheme://host or scheme://host:port", "https://api.example.com");
