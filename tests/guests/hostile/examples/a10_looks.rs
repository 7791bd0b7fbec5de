//! Looks at everything of the host that WASI could show, opens what could be opened, and tells what it saw.

use std::fmt::Debug;

use hostile::wasi::cli::{environment, stdin::get_stdin};
use hostile::wasi::filesystem::preopens::get_directories;
use hostile::wasi::sockets::instance_network::instance_network;
use hostile::wasi::sockets::ip_name_lookup::resolve_addresses;
use hostile::wasi::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use hostile::wasi::sockets::tcp_create_socket::create_tcp_socket;
use hostile::wasi::sockets::udp_create_socket::create_udp_socket;
use hostile::{Failure, Message};

hostile::guest!(receive);

fn receive(_: &Message) -> Result<(), Failure> {
    let network = instance_network();
    let mut seen = Vec::new();
    let mut saw = |what: &str, found: &dyn Debug| seen.push(format!("{what}: {found:?}"));
    saw("environment", &environment::get_environment());
    saw("arguments", &environment::get_arguments());
    saw("directory", &environment::initial_cwd());
    saw("opened directories", &get_directories().len());
    saw("standard input", &get_stdin().blocking_read(100).map_err(|error| error.to_string()));
    let remote = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 22, address: (127, 0, 0, 1) });
    let local = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 0, address: (0, 0, 0, 0) });
    let tcp = || create_tcp_socket(IpAddressFamily::Ipv4);
    saw("connecting", &word(tcp().and_then(|socket| socket.start_connect(&network, remote))));
    saw("listening", &word(tcp().and_then(|socket| socket.start_bind(&network, local))));
    let udp = create_udp_socket(IpAddressFamily::Ipv4);
    saw("datagrams", &word(udp.and_then(|socket| socket.start_bind(&network, local))));
    saw("name", &word(resolve_addresses(&network, "localhost")));
    hostile::tell(&seen.join("\n"))
}

fn word<T>(tried: Result<T, ErrorCode>) -> &'static str {
    tried.map_or_else(|error| error.name(), |_| "ok")
}
