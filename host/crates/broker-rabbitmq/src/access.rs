//! From a URL and what proves who connects to what the client wants to know.

use std::path::Path;
use std::sync::Arc;

use lapin::tcp::{AsyncTcpStream, RustlsConnector, RustlsConnectorConfig};
use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use lapin::{Connection, ConnectionProperties};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;
use url::Url;
use wasmpost_delivery::{Access, BrokerError, Site};

use crate::error::{answered, invalid};

/// How often both sides make themselves heard, in seconds, unless the URL says otherwise. A peer that is silent for
/// twice as long is gone.
const HEARTBEAT_SECONDS: u16 = 10;

/// The address and the credentials of the connection.
pub(crate) struct Target {
    uri: AMQPUri,
    tls: Option<Arc<RustlsConnector>>,
    properties: ConnectionProperties,
}

impl Target {
    /// Reads the files that `access` names.
    pub(crate) fn new(url: &str, access: &Access) -> Result<Self, BrokerError> {
        let mut uri = parsed(url)?;
        if let Some(file) = &access.credentials_file {
            let file = file.display();
            return Err(invalid(format!("RabbitMQ takes no file of credentials: give user and password, not {file}")));
        }
        let proof = access.password.as_ref().or(access.token.as_ref());
        if let Some(user) = &access.user {
            uri.authority.userinfo.username.clone_from(user);
        } else if access.token.is_some() {
            uri.authority.userinfo.username.clear();
        }
        if let Some(proof) = proof {
            proof.expose_secret().clone_into(&mut uri.authority.userinfo.password);
        }
        let tls = match uri.scheme {
            AMQPScheme::AMQP if access.ca_file.is_some() || access.certificate_file.is_some() => {
                return Err(invalid(format!(
                    "files of certificates are given, but {url} is not encrypted: write amqps://"
                )));
            }
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(Arc::new(connector(access)?)),
        };
        if access.certificate_file.is_some() && proof.is_none() {
            uri.query.auth_mechanism.get_or_insert(SASLMechanism::External);
        }
        let client = access.client.clone().unwrap_or_else(|| "wasmpost".to_owned());
        let properties = ConnectionProperties::default().with_connection_name(client.into());
        Ok(Self { uri, tls, properties })
    }

    /// Its address, without any secret.
    pub(crate) fn shown(&self) -> String {
        let AMQPUri { scheme, authority, vhost, .. } = &self.uri;
        format!("{scheme}://{}:{} (virtual host {vhost:?})", authority.host, authority.port)
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Result<Connection, BrokerError> {
        let what = format!("connecting to {}", self.shown());
        let runtime = lapin::runtime::default_runtime().map_err(|error| invalid(format!("{what}: {error}")))?;
        let tls = self.tls.clone();
        let connecting = Connection::connector(
            self.uri.clone(),
            runtime,
            async move |uri: AMQPUri, runtime| {
                let host = uri.authority.host.clone();
                let port = uri.authority.port;
                let stream = AsyncTcpStream::connect(&runtime, runtime.to_socket_addrs((host.clone(), port))).await?;
                match &tls {
                    Some(connector) => Ok(stream.into_rustls(connector, &host).await?),
                    None => Ok(stream),
                }
            },
            self.properties.clone(),
        );
        answered(&what, connecting).await
    }
}

/// The place of the virtual host of a URL. The port is left out where it is the default one, encrypted or not.
pub(crate) fn site(url: &str) -> Result<Site, BrokerError> {
    let uri = parsed(url)?;
    let port = Some(uri.authority.port).filter(|port| *port != uri.scheme.default_port());
    Ok(Site::new("amqp", [(uri.authority.host, port)], uri.vhost))
}

fn parsed(url: &str) -> Result<AMQPUri, BrokerError> {
    let mut uri: AMQPUri = url.parse().map_err(|error| invalid(format!("broker {url}: {error}")))?;
    let told = Url::parse(url).map_err(|error| invalid(format!("broker {url}: {error}")))?;
    if let Some(host) = told.host_str() {
        host.trim_matches(['[', ']']).clone_into(&mut uri.authority.host);
    }
    // A slash with nothing behind it is what people write who mean the default.
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    Ok(uri)
}

fn connector(access: &Access) -> Result<RustlsConnector, BrokerError> {
    let roots = match &access.ca_file {
        Some(file) => {
            let mut roots = RustlsConnectorConfig::default();
            roots.add_parsable_certificates(certificates(file)?);
            roots
        }
        None => RustlsConnectorConfig::new_with_webpki_root_certs(),
    };
    let refused = |error| invalid(format!("certificates for RabbitMQ cannot be used: {error}"));
    match (&access.certificate_file, &access.key_file) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
            roots.connector_with_single_cert(certificates(certificate)?, key).map_err(refused)
        }
        (None, None) => roots.connector_with_no_client_auth().map_err(refused),
        _ => Err(invalid("a client certificate needs both its file and that of its key")),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, BrokerError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| unreadable(file, &error))?;
    if certificates.is_empty() {
        return Err(invalid(format!("{}: there is no certificate in it", file.display())));
    }
    Ok(certificates)
}

fn unreadable(file: &Path, error: &rustls_pki_types::pem::Error) -> BrokerError {
    invalid(format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(url: &str) -> AMQPUri {
        parsed(url).unwrap()
    }

    #[test]
    fn a_url_tells_host_port_and_virtual_host() {
        let all = uri("amqp://rabbit.example:5673/sales%2feu?heartbeat=30");
        assert_eq!((all.authority.host.as_str(), all.authority.port), ("rabbit.example", 5673));
        assert_eq!((all.vhost.as_str(), all.query.heartbeat), ("sales/eu", Some(30)));
        assert_eq!(uri("amqps://[::1]").authority.host, "::1");
        assert_eq!(uri("amqps://[::1]").authority.port, 5671);
    }

    #[test]
    fn no_path_and_an_empty_one_are_the_default_virtual_host() {
        assert_eq!((uri("amqp://127.0.0.1").vhost, uri("amqp://127.0.0.1/").vhost), ("/".into(), "/".into()));
    }

    #[test]
    fn two_urls_of_one_virtual_host_lead_to_one_place() {
        let is_same = |one: &str, other: &str| site(one).unwrap().is_same(&site(other).unwrap());
        assert!(is_same("amqp://localhost", "amqp://127.0.0.1:5672/?heartbeat=30"));
        assert!(is_same("amqp://rabbit.test/%2f", "amqps://RABBIT.test:5671/"));
        assert!(!is_same("amqp://rabbit.test/a", "amqp://rabbit.test/b"));
        assert!(!is_same("amqp://rabbit.test", "amqp://rabbit.test:5673"));
    }

    #[test]
    fn what_is_shown_has_no_secret_in_it() {
        let access =
            Access { user: Some("me".into()), password: Some("hunter2".to_owned().into()), ..Access::default() };
        let target = Target::new("amqp://127.0.0.1/a", &access).unwrap();
        assert_eq!(target.uri.authority.userinfo.password, "hunter2");
        assert!(!target.shown().contains("hunter2"), "{}", target.shown());
    }

    #[test]
    fn certificates_without_encryption_are_refused() {
        let access = Access { ca_file: Some("ca.pem".into()), ..Access::default() };
        assert!(Target::new("amqp://127.0.0.1", &access).is_err());
        assert!(Target::new("amqps://127.0.0.1", &access).is_err(), "the file is not there");
    }
}
