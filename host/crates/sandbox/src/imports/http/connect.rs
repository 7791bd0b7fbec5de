//! From an origin to a connection: the name is looked up once, and what is connected to is the address that was checked.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use wasmtime_wasi_http::Error;

use super::address::is_public;
use super::admit::Admitted;
use crate::audit::Denied;
use crate::origin::HttpHost;
use crate::{HttpOrigin, SandboxError};

/// How many addresses of one name are tried.
const ADDRESSES_MAX: usize = 8;

/// How outgoing HTTP finds and trusts servers.
#[derive(Debug, Clone)]
pub struct Network {
    /// What names are looked up with.
    pub resolver: Arc<dyn Resolver>,
    /// Certificates of authorities that servers may be certified by beside the public ones, in DER.
    pub authorities: Vec<Vec<u8>>,
}

/// Looks up names.
#[async_trait]
pub trait Resolver: Debug + Send + Sync {
    /// The addresses of a name. Asked once for each request, however many times it would tell something else.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Looks up names as the system does.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

/// Connects to origins.
pub(crate) struct Connector {
    resolver: Arc<dyn Resolver>,
    tls: TlsConnector,
}

/// What a connection reads and writes.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

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
        // What one guest's connection left behind is nothing for another's.
        tls.resumption = rustls::client::Resumption::disabled();
        Ok(Self { resolver: Arc::clone(&network.resolver), tls: TlsConnector::from(Arc::new(tls)) })
    }

    /// A connection to where a request goes.
    pub(super) async fn connect(&self, request: &Admitted) -> Result<Box<dyn Duplex>, Error> {
        let stream = connected(&self.addresses(request).await?).await?;
        if !request.origin.is_tls {
            return Ok(Box::new(stream));
        }
        let stream =
            self.tls.connect(server_name(&request.origin)?, stream).await.map_err(|error| tls_fault(&error))?;
        Ok(Box::new(stream))
    }

    /// The addresses that a request may be sent to. Those that may not are not even tried.
    async fn addresses(&self, request: &Admitted) -> Result<Vec<SocketAddr>, Error> {
        let found = match &request.origin.host {
            HttpHost::Address(address) => vec![*address],
            HttpHost::Name(name) => self.resolver.resolve(name).await.map_err(|error| dns_fault(&error))?,
        };
        let Some(first) = found.first().copied() else {
            return Err(Error::DnsError { rcode: Some("the name has no address".to_owned()), info_code: None });
        };
        let grants = &request.shared.grants;
        let may_reach = |address: &SocketAddr| is_public(address.ip()) || grants.allow_address(*address);
        let addresses = found.into_iter().map(|address| SocketAddr::new(address, request.origin.port));
        let allowed: Vec<_> = addresses.filter(may_reach).take(ADDRESSES_MAX).collect();
        if allowed.is_empty() {
            request.log.denied(&Denied::Address(&request.origin.to_string(), first));
            return Err(Error::HttpRequestDenied);
        }
        Ok(allowed)
    }
}

async fn connected(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut fault = Error::DestinationUnavailable;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are written whole; waiting for more to send would only delay them.
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fault = Error::ConnectionRefused,
            Err(_) => fault = Error::DestinationUnavailable,
        }
    }
    Err(fault)
}

fn server_name(origin: &HttpOrigin) -> Result<ServerName<'static>, Error> {
    match &origin.host {
        HttpHost::Address(address) => Ok(ServerName::IpAddress((*address).into())),
        HttpHost::Name(name) => ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid),
    }
}

fn dns_fault(error: &io::Error) -> Error {
    Error::DnsError { rcode: Some(error.to_string()), info_code: None }
}

fn tls_fault(error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
        _ => Error::TlsProtocolError,
    }
}
