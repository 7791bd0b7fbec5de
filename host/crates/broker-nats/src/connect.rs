//! The connection: who connects, to which servers, and what is noticed of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use secrecy::ExposeSecret;
use tokio::sync::watch;
use wasmpost_delivery::{Access, BrokerError, BrokerErrorKind};

use crate::error::{ANSWER_TIMEOUT, invalid, unavailable};
use crate::options::Options;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the server is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// The longest pause between two attempts to connect again.
const RECONNECT_MAX: Duration = Duration::from_secs(4);

/// A connection, and how often it was made anew.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) generation: watch::Receiver<u64>,
}

/// Connects to the first server that answers. A connection that is lost later is made again, for as long as it takes.
pub(crate) async fn connect(options: &Options, access: &Access) -> Result<Connection, BrokerError> {
    let (count, generation) = watch::channel(0_u64);
    let count = Arc::new(count);
    let noticed = move |event: Event| {
        let count = Arc::clone(&count);
        async move { notice(&event, &count) }
    };
    let connecting = with_access(ConnectOptions::new(), access)
        .await?
        .name(access.client.as_deref().unwrap_or("wasmpost"))
        .require_tls(options.tls || access.ca_file.is_some() || access.certificate_file.is_some())
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(ANSWER_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(pause)
        .event_callback(noticed);
    let servers: Result<Vec<ServerAddr>, _> = options.servers.iter().map(|server| server.parse()).collect();
    let servers = servers.map_err(|error| invalid("server cannot be addressed").caused_by(error))?;
    let shown = options.servers.join(", ");
    let client = connecting.connect(servers).await.map_err(|error| refused(&shown, error))?;
    Ok(Connection { client, generation })
}

/// How long to wait before a try to connect, the first of which has number 1.
fn pause(tries: usize) -> Duration {
    match tries {
        0 | 1 => Duration::ZERO,
        _ => RECONNECT_MAX.min(Duration::from_millis(25).saturating_mul(1 << tries.min(10))),
    }
}

/// Reads what proves who connects.
pub(crate) async fn check(access: &Access) -> Result<(), BrokerError> {
    with_access(ConnectOptions::new(), access).await.map(drop)
}

async fn with_access(mut options: ConnectOptions, access: &Access) -> Result<ConnectOptions, BrokerError> {
    if let Some(user) = &access.user {
        let password = access.password.as_ref().map(|password| password.expose_secret().to_owned());
        options = options.user_and_password(user.clone(), password.unwrap_or_default());
    }
    if let Some(token) = &access.token {
        options = options.token(token.expose_secret().to_owned());
    }
    if let Some(file) = &access.credentials_file {
        options = options.credentials_file(file).await.map_err(|error| unreadable(file, error))?;
    }
    if let Some(file) = &access.ca_file {
        options = options.add_root_certificates(file.clone());
    }
    if let (Some(certificate), Some(key)) = (&access.certificate_file, &access.key_file) {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

fn unreadable(file: &Path, error: std::io::Error) -> BrokerError {
    invalid(format!("credentials in {} cannot be used", file.display())).caused_by(error)
}

fn refused(servers: &str, error: async_nats::ConnectError) -> BrokerError {
    use async_nats::ConnectErrorKind::{Authentication, AuthorizationViolation};
    let kind = error.kind();
    if matches!(kind, Authentication | AuthorizationViolation) {
        let fault = format!("{servers}: authentication failed; give user and password, token or credentials_file");
        return BrokerError::new(BrokerErrorKind::Invalid, fault).caused_by(error.to_string());
    }
    unavailable(format!("no NATS server could be reached at {servers}"), error)
}

fn notice(event: &Event, count: &watch::Sender<u64>) {
    match event {
        Event::Connected => {
            count.send_modify(|count| *count += 1);
            if *count.borrow() > 1 {
                tracing::info!("connected to NATS again");
            }
        }
        Event::Disconnected => tracing::warn!("connection to NATS was lost; connecting again"),
        Event::ServerError(error) => tracing::warn!(error = %error, "NATS server refused something"),
        Event::ClientError(error) => tracing::warn!(error = %error, "NATS connection failed"),
        Event::SlowConsumer(_) => tracing::warn!("messages came faster than they were taken; some come again"),
        Event::LameDuckMode => tracing::warn!("NATS server is about to end; connecting to another"),
        Event::Draining | Event::Closed => tracing::debug!(%event, "NATS connection"),
    }
}
