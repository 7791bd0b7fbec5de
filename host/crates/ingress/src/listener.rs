//! A listener: bound first, before a host gives up the right to, and served once there is something to serve.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tokio_rustls::TlsAcceptor;

use crate::options::ListenerOptions;
use crate::tls;

/// How many connections the system keeps that were not accepted yet.
const BACKLOG: i32 = 1024;
/// How many files a host has open beside connections of senders.
const OTHER_FILES: u64 = 512;

/// An address that is bound. Senders that connect wait until it is served.
pub struct Bound {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) connections_max: usize,
    address: SocketAddr,
}

impl Bound {
    /// Binds an address and reads its certificate.
    ///
    /// # Errors
    ///
    /// That of the system where the address cannot be bound or a file not be read, and `InvalidData` for a file that is no
    /// certificate or key.
    pub fn bind(options: &ListenerOptions) -> io::Result<Self> {
        let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
        let socket = Socket::new(Domain::for_address(options.address), Type::STREAM, Some(Protocol::TCP))?;
        // A host that was restarted takes its address over from connections that still end.
        socket.set_reuse_address(true)?;
        if options.address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&options.address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        Ok(Self { listener, tls, connections_max: options.connections_max, address })
    }

    /// The address, with the port that the system chose where none was named.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Has the system let this process have as many open files as these connections and the rest of a host need. Gives the most
/// connections that there can be where it does not.
pub fn allow_files(connections: usize) -> Option<usize> {
    let wanted = (connections as u64).saturating_add(OTHER_FILES);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return None;
    }
    let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit }).is_ok() && current >= wanted {
        return None;
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    Some(usize::try_from(allowed.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(1))
}
