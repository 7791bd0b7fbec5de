//! From an origin to a connection: the name is looked up once, and what is connected to is the address that was checked.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;
use wasmtime_wasi_http::Error;

use super::address::is_public;
use crate::guest::{Admitted, Connector, Denied, HttpHost, HttpOrigin};

/// How many addresses of one name are tried.
const ADDRESSES_MAX: usize = 8;

/// A stream under a connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Connector {
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
