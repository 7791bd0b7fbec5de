//! Messages by HTTP as they are written: an address, a path, and how senders prove who they are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use wasmpost_ingress::{
    CloudEvents, EndpointOptions, HeaderName, ListenerOptions, Method, Signature, TakenHeader, TlsFiles,
};
use wasmpost_msg::{BODY_BYTES_MAX, tenant_of};
use wasmpost_sandbox::{Size, Span};

use super::raw::Source;
use super::raw_broker::{file, secret};
use super::word::Name;
use super::{ConfigError, DEFAULT_BROKER, IngressConfig};
use crate::registry::Address;
use crate::tenant::Tenant;

const BODY: Size = Size(1 << 20);
const CONNECTIONS: u32 = 1024;
const TIME: Duration = Duration::from_secs(30);

/// A path at which messages are taken by HTTP.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIngress {
    /// The address that is listened on, such as 127.0.0.1:8080. Several paths can have one address. Any but one of this
    /// machine alone needs a certificate, or insecure = true.
    #[schemars(with = "String")]
    listen: Spanned<SocketAddr>,
    /// The path at which requests are taken, such as /github.
    #[schemars(with = "String")]
    path: Spanned<String>,
    /// The topic that messages are written to; that of a tenant by its whole name, @tenant/topic.
    #[schemars(with = "Name")]
    topic: Spanned<Name>,
    /// The name of the broker that has the topic.
    #[schemars(with = "Option<String>")]
    broker: Option<Spanned<String>>,
    /// How senders prove who they are: as GitHub, Stripe, Slack or the Standard Webhooks specification sign requests, by a
    /// token in the header Authorization (`bearer`), or not at all (`none`).
    #[schemars(with = "RawMethod")]
    signature: Spanned<RawMethod>,
    /// A file with the secret or the token, relative to this file. With several, one in each line, any of them is accepted.
    #[schemars(with = "Option<String>")]
    secret_file: Option<Spanned<PathBuf>>,
    /// The environment variable with the secret or the token.
    #[schemars(with = "Option<String>")]
    secret_env: Option<Spanned<String>>,
    /// The headers that become attributes, beside Content-Type, by name or by the beginning of it and an asterisk.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    headers: Vec<Spanned<String>>,
    /// The header that has the id of a message that is no CloudEvent, without which a request is refused. Unless given, the id
    /// is X-GitHub-Delivery or webhook-id where requests are signed so, or Idempotency-Key, where there is one. The id of a
    /// CloudEvent is its source and id.
    #[schemars(with = "Option<String>")]
    id_header: Option<Spanned<String>>,
    /// The header that has the ordering key, or the attribute ce-NAME of a CloudEvent; ce-partitionkey unless given.
    #[schemars(with = "Option<String>")]
    key_header: Option<Spanned<String>>,
    /// Whether the broker has to drop a message whose id it stored before. With false, a request that is sent again adds a
    /// message, at brokers that cannot tell.
    #[serde(default = "yes")]
    deduplicate: bool,
    /// Whether CloudEvents are taken as events (`accepted`), alone (`required`), or as any other body (`ignored`).
    #[serde(default)]
    cloudevents: RawCloudEvents,
    /// The media types of bodies that are taken. All unless given.
    #[serde(default)]
    content_types: Vec<String>,
    /// The largest body, up to 64MiB.
    #[serde(default = "body")]
    #[schemars(with = "Size")]
    body: Spanned<Size>,
    /// The most messages a second, over time; more are refused. Unlimited unless given.
    rate: Option<std::num::NonZeroU32>,
    /// How long a request may take to arrive.
    #[serde(default = "time")]
    time: Span,
    /// The most connections at a time, for all paths of the address. The one that is silent longest makes room for a new one.
    #[serde(default = "connections")]
    #[schemars(range(min = 1))]
    connections: std::num::NonZeroU32,
    /// A PEM file with the certificate of the address, and those between it and the authority.
    #[schemars(with = "Option<String>")]
    certificate_file: Option<Spanned<PathBuf>>,
    /// A PEM file with the key of that certificate.
    #[schemars(with = "Option<String>")]
    key_file: Option<Spanned<PathBuf>>,
    /// Whether others than this machine may connect without encryption, as where a proxy before it encrypts.
    #[serde(default)]
    insecure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawMethod {
    GitHub,
    Stripe,
    Slack,
    Standard,
    Bearer,
    None,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawCloudEvents {
    #[default]
    Accepted,
    Required,
    Ignored,
}

fn yes() -> bool {
    true
}

fn body() -> Spanned<Size> {
    Spanned::new(0..0, BODY)
}

fn time() -> Span {
    Span(TIME)
}

fn connections() -> std::num::NonZeroU32 {
    std::num::NonZeroU32::new(CONNECTIONS).unwrap_or(std::num::NonZeroU32::MIN)
}

/// Checks all paths, each alone and beside the others.
pub(super) fn checked(
    all: Vec<RawIngress>,
    source: &Source<'_>,
    brokers: &BTreeMap<String, Address>,
    tenants: &BTreeMap<String, Tenant>,
) -> Result<Vec<IngressConfig>, ConfigError> {
    let mut found: Vec<IngressConfig> = Vec::new();
    for raw in all {
        let listen = raw.listen.clone();
        let path = raw.path.clone();
        let one = raw.checked(source, brokers, tenants)?;
        let same: Vec<_> = found.iter().filter(|other| other.listener.address == one.listener.address).collect();
        // A port that the system chooses is another one each time.
        let same = if one.listener.address.port() == 0 { Vec::new() } else { same };
        if same.iter().any(|other| other.listener != one.listener) {
            let fault = format!(
                "{} is listened on already with another certificate or number of connections; write the same for both",
                one.listener.address
            );
            return Err(source.fault(&listen, fault));
        }
        if same.iter().any(|other| other.endpoint.path == one.endpoint.path) {
            let fault = format!("path {:?} is taken already at {}", one.endpoint.path, one.listener.address);
            return Err(source.fault(&path, fault));
        }
        found.push(one);
    }
    Ok(found)
}

impl RawIngress {
    fn checked(
        self,
        source: &Source<'_>,
        brokers: &BTreeMap<String, Address>,
        tenants: &BTreeMap<String, Tenant>,
    ) -> Result<IngressConfig, ConfigError> {
        self.check_names(source, brokers, tenants)?;
        let header = |name: &Option<Spanned<String>>| {
            let parse = |name: &Spanned<String>| {
                let fault = |_| source.fault(name, format!("{:?} is no name of a header", name.get_ref()));
                HeaderName::from_bytes(name.get_ref().as_bytes()).map_err(fault)
            };
            name.as_ref().map(parse).transpose()
        };
        let id_header = header(&self.id_header)?;
        let key_header = header(&self.key_header)?;
        let taken =
            |name: &Spanned<String>| TakenHeader::parse(name.get_ref()).map_err(|fault| source.fault(name, fault));
        let headers = self.headers.iter().map(taken).collect::<Result<_, _>>()?;
        let body = self.body.get_ref().0;
        let body_bytes_max = usize::try_from(body).ok().filter(|bytes| (1..=BODY_BYTES_MAX).contains(bytes));
        let over = || source.fault(&self.body, "body is from 1B to 64MiB");
        let body_bytes_max = body_bytes_max.ok_or_else(over)?;
        let secrets = secret(source, self.secret_file, self.secret_env)?;
        let signature = Signature::new(self.signature.get_ref().method(), secrets.as_ref());
        let signature = signature.map_err(|error| source.fault(&self.signature, error.to_string()))?;
        let tls = tls(source, self.certificate_file, self.key_file)?;
        let address = *self.listen.get_ref();
        if !address.ip().is_loopback() && tls.is_none() && !self.insecure {
            let fault = format!(
                "{address} is reached by others without encryption; name certificate_file and key_file, or write \
                 insecure = true where a proxy encrypts"
            );
            return Err(source.fault(&self.listen, fault));
        }
        Ok(IngressConfig {
            broker: self.broker.map_or_else(|| DEFAULT_BROKER.to_owned(), Spanned::into_inner),
            listener: ListenerOptions { address, tls, connections_max: self.connections.get() as usize },
            endpoint: EndpointOptions {
                path: self.path.into_inner(),
                topic: self.topic.into_inner().0,
                signature,
                headers,
                id_header,
                key_header,
                cloud_events: match self.cloudevents {
                    RawCloudEvents::Accepted => CloudEvents::Accepted,
                    RawCloudEvents::Required => CloudEvents::Required,
                    RawCloudEvents::Ignored => CloudEvents::Ignored,
                },
                content_types: self.content_types,
                body_bytes_max,
                rate: self.rate.map(std::num::NonZeroU32::get),
                time: self.time.0,
            },
        })
    }

    /// Checks the path, the topic, and what the broker is able to do.
    fn check_names(
        &self,
        source: &Source<'_>,
        brokers: &BTreeMap<String, Address>,
        tenants: &BTreeMap<String, Tenant>,
    ) -> Result<(), ConfigError> {
        let path = self.path.get_ref();
        let is_path =
            path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        if !is_path {
            let fault = format!("path {path:?} does not begin with a slash, or has a letter that no path has");
            return Err(source.fault(&self.path, fault));
        }
        if let Some(tenant) = tenant_of(&self.topic.get_ref().0).filter(|tenant| !tenants.contains_key(*tenant)) {
            let fault = format!("unknown tenant {tenant:?}; describe it under [tenants.{tenant}]");
            return Err(source.fault(&self.topic, fault));
        }
        let name = self.broker.as_ref().map_or(DEFAULT_BROKER, |broker| broker.get_ref());
        let Some(address) = brokers.get(name) else {
            let fault = format!("unknown broker {name:?}; name it under [brokers]");
            return Err(self
                .broker
                .as_ref()
                .map_or_else(|| source.fault(&self.topic, &*fault), |broker| source.fault(broker, &*fault)));
        };
        if self.deduplicate && !address.scheme().is_ok_and(|scheme| scheme.deduplicates) {
            let fault = format!(
                "broker {name:?} cannot tell that a message was stored before, so a request that is sent again adds one; \
                 write deduplicate = false if receivers can take that, or use another broker"
            );
            return Err(self
                .broker
                .as_ref()
                .map_or_else(|| source.fault(&self.topic, &*fault), |broker| source.fault(broker, &*fault)));
        }
        Ok(())
    }
}

impl RawMethod {
    fn method(self) -> Method {
        match self {
            Self::GitHub => Method::GitHub,
            Self::Stripe => Method::Stripe,
            Self::Slack => Method::Slack,
            Self::Standard => Method::Standard,
            Self::Bearer => Method::Bearer,
            Self::None => Method::None,
        }
    }
}

/// The files of a certificate, where both are named.
fn tls(
    source: &Source<'_>,
    certificate: Option<Spanned<PathBuf>>,
    key: Option<Spanned<PathBuf>>,
) -> Result<Option<TlsFiles>, ConfigError> {
    if let (Some(alone), None) | (None, Some(alone)) = (&certificate, &key) {
        return Err(source.fault(alone, "certificate_file and key_file have to be given together"));
    }
    let files = file(source, certificate)?.zip(file(source, key)?);
    Ok(files.map(|(certificate, key)| TlsFiles { certificate, key }))
}
