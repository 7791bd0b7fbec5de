//! A broker as it is written: its URL alone, or a table with the URL and credentials.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;
use wasmpost_delivery::Access;
use wasmpost_sandbox::{Size, Span, read_plain_file};

use super::ConfigError;
use super::raw::Source;
use super::word::BrokerUrl;
use crate::registry::{ACK_FLUSH_MAX, Acks, Address};

/// The longest secret that is read from a file, in bytes.
const SECRET_BYTES_MAX: Size = Size(64 << 10);

/// A broker: its URL, or a table with the URL and credentials.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub(super) enum RawBroker {
    Url(Box<BrokerUrl>),
    Table(Box<RawBrokerTable>),
}

/// A broker with credentials, or with how its file is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBrokerTable {
    /// Where it is.
    #[schemars(with = "BrokerUrl")]
    url: Spanned<BrokerUrl>,
    /// The name of the user.
    user: Option<String>,
    /// A file with the password of the user, relative to this file.
    #[schemars(with = "Option<String>")]
    password_file: Option<Spanned<PathBuf>>,
    /// The environment variable with the password of the user.
    #[schemars(with = "Option<String>")]
    password_env: Option<Spanned<String>>,
    /// A file with a token that stands for the user.
    #[schemars(with = "Option<String>")]
    token_file: Option<Spanned<PathBuf>>,
    /// The environment variable with a token that stands for the user.
    #[schemars(with = "Option<String>")]
    token_env: Option<Spanned<String>>,
    /// A file with credentials in the form of the broker, such as the .creds of NATS.
    #[schemars(with = "Option<String>")]
    credentials_file: Option<Spanned<PathBuf>>,
    /// A PEM file with the authorities that the broker's certificate is checked against; those of Mozilla unless given.
    #[schemars(with = "Option<String>")]
    ca_file: Option<Spanned<PathBuf>>,
    /// A PEM file with the certificate of this client.
    #[schemars(with = "Option<String>")]
    certificate_file: Option<Spanned<PathBuf>>,
    /// A PEM file with the key of that certificate.
    #[schemars(with = "Option<String>")]
    key_file: Option<Spanned<PathBuf>>,
    /// How long acknowledgements of a queue file are gathered, to be stored together; up to a second, 10ms unless given. A
    /// power cut loses those of so long: their messages come again. A longer time has fewer flushes of a disk that is slow.
    #[schemars(with = "Option<Span>")]
    ack_flush: Option<Spanned<Span>>,
    /// Whether acknowledgements of a queue file are `gathered`, or each is on disk before the next message takes its place
    /// (`full`), which costs a flush for each group of messages that end together.
    durability: Option<RawDurability>,
}

/// When acknowledgements are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawDurability {
    Gathered,
    Full,
}

impl<'de> Deserialize<'de> for RawBroker {
    /// Written by hand, so that an error is about the form that was meant.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> de::Visitor<'de> for Either {
            type Value = RawBroker;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the URL of a broker, or a table with the key url")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<RawBroker, E> {
                url.parse().map(|url| RawBroker::Url(Box::new(url))).map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RawBroker, A::Error> {
                RawBrokerTable::deserialize(MapAccessDeserializer::new(map)).map(|table| RawBroker::Table(table.into()))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl RawBroker {
    pub(super) fn checked(self, source: &Source<'_>) -> Result<Address, ConfigError> {
        let address = match self {
            Self::Url(url) => url.0,
            Self::Table(table) => table.checked(source)?,
        };
        Ok(address.resolved(|path| source.resolved(path)))
    }
}

impl RawBrokerTable {
    fn checked(self, source: &Source<'_>) -> Result<Address, ConfigError> {
        let url = self.url.clone();
        let acks = acks(source, &url, self.ack_flush, self.durability)?;
        let mut address = self.url.into_inner().0;
        address.acks = acks;
        let password = secret(source, self.password_file, self.password_env)?;
        let token = secret(source, self.token_file, self.token_env)?;
        let given = Access {
            client: None,
            user: self.user,
            password,
            token,
            credentials_file: file(source, self.credentials_file)?,
            ca_file: file(source, self.ca_file)?,
            certificate_file: file(source, self.certificate_file)?,
            key_file: file(source, self.key_file)?,
        };
        if given.is_given() && !address.scheme().is_ok_and(|scheme| scheme.is_remote) {
            return Err(source.fault(&url, "this broker is in the process and takes no credentials; remove them"));
        }
        if given.certificate_file.is_some() != given.key_file.is_some() {
            return Err(source.fault(&url, "certificate_file and key_file have to be given together"));
        }
        let in_url = std::mem::take(&mut address.access);
        address.access =
            Access { user: given.user.or(in_url.user), password: given.password.or(in_url.password), ..given };
        Ok(address)
    }
}

/// When acknowledgements are on disk, where there is a disk.
fn acks(
    source: &Source<'_>,
    url: &Spanned<BrokerUrl>,
    ack_flush: Option<Spanned<Span>>,
    durability: Option<RawDurability>,
) -> Result<Acks, ConfigError> {
    let is_given = ack_flush.is_some() || durability.is_some();
    if is_given && url.get_ref().0.file().is_none() {
        return Err(source.fault(url, "ack_flush and durability are for a queue file, and this broker has none"));
    }
    match (ack_flush, durability) {
        (Some(span), Some(RawDurability::Full)) => {
            Err(source.fault(&span, "durability is full, which gathers nothing; leave one of the two out"))
        }
        (Some(span), _) if span.get_ref().0 > ACK_FLUSH_MAX || span.get_ref().0 < Duration::from_millis(1) => {
            Err(source.fault(&span, "ack_flush is from 1ms to 1s; for none, set durability to full"))
        }
        (Some(span), _) => Ok(Acks::Within(span.get_ref().0)),
        (None, Some(RawDurability::Full)) => Ok(Acks::AtOnce),
        (None, _) => Ok(Acks::default()),
    }
}

/// A file that has to be there.
pub(super) fn file(source: &Source<'_>, path: Option<Spanned<PathBuf>>) -> Result<Option<PathBuf>, ConfigError> {
    let Some(path) = path else { return Ok(None) };
    let resolved = source.resolved(path.get_ref());
    match resolved.is_file() {
        true => Ok(Some(resolved)),
        false => Err(source.fault(&path, format!("there is no file {}", resolved.display()))),
    }
}

/// A secret from a file, without the end of its line, or from the environment.
pub(super) fn secret(
    source: &Source<'_>,
    path: Option<Spanned<PathBuf>>,
    variable: Option<Spanned<String>>,
) -> Result<Option<SecretString>, ConfigError> {
    if let (Some(_), Some(variable)) = (&path, &variable) {
        return Err(source.fault(variable, "name a file or an environment variable, not both"));
    }
    if let Some(variable) = variable {
        let missing = |_| source.fault(&variable, format!("environment variable {} is not set", variable.get_ref()));
        return std::env::var(variable.get_ref()).map(|secret| Some(secret.into())).map_err(missing);
    }
    let Some(resolved) = file(source, path.clone())? else { return Ok(None) };
    let fault = |fault: String| match &path {
        Some(path) => source.fault(path, format!("{}: {fault}", resolved.display())),
        None => ConfigError::unreadable(&resolved, &std::io::Error::other(fault)),
    };
    let bytes = read_plain_file(&resolved, SECRET_BYTES_MAX);
    let bytes = bytes.map_err(|error| fault(format!("a secret could not be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| fault("a secret is not text in UTF-8".to_owned()))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned().into()))
}
