//! The resolver and the trusted authorities of outgoing HTTP.

use std::fmt::Debug;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::error::SandboxError;

/// How outgoing HTTP finds and trusts servers.
///
/// # Examples
///
/// ```
/// use std::io;
/// use std::net::IpAddr;
/// use std::sync::Arc;
///
/// use async_trait::async_trait;
/// use wasmpost_sandbox::{EngineOptions, Network, Resolver};
///
/// /// Knows no name.
/// #[derive(Debug)]
/// struct Nobody;
///
/// #[async_trait]
/// impl Resolver for Nobody {
///     async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
///         Err(io::Error::new(io::ErrorKind::NotFound, format!("{name} is not known")))
///     }
/// }
///
/// let network = Network { resolver: Arc::new(Nobody), ..Network::default() };
/// let options = EngineOptions { network, ..EngineOptions::default() };
/// # drop(options);
/// ```
#[derive(Debug, Clone)]
pub struct Network {
    /// The resolver of names.
    pub resolver: Arc<dyn Resolver>,
    /// Certificates of authorities that servers may be certified by beside the public ones, in DER.
    pub authorities: Vec<Vec<u8>>,
}

/// Looks up names.
#[async_trait]
pub trait Resolver: Debug + Send + Sync {
    /// The addresses of a name. Asked once for each request, however many times it would tell something else.
    ///
    /// # Errors
    ///
    /// Any, where the name cannot be looked up: the request of the guest fails as one to an unknown host.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Looks up names as the system does.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use wasmpost_sandbox::{EngineOptions, Network, SystemResolver};
///
/// let network = Network { resolver: Arc::new(SystemResolver), ..Network::default() };
/// let options = EngineOptions { network, ..EngineOptions::default() };
/// # drop(options);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

/// Connects to origins.
pub(crate) struct Connector {
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) tls: TlsConnector,
}

impl Default for Network {
    /// The resolver of the system, and the public authorities alone.
    fn default() -> Self {
        Self { resolver: Arc::new(SystemResolver), authorities: Vec::new() }
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

impl Connector {
    pub(crate) fn new(network: &Network) -> Result<Self, SandboxError> {
        let fault = |error: rustls::Error| SandboxError::Network(error.to_string());
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for authority in &network.authorities {
            roots.add(CertificateDer::from(authority.as_slice())).map_err(fault)?;
        }
        let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(fault)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Connections of one guest leave no session for those of another.
        tls.resumption = rustls::client::Resumption::disabled();
        Ok(Self { resolver: Arc::clone(&network.resolver), tls: TlsConnector::from(Arc::new(tls)) })
    }
}
