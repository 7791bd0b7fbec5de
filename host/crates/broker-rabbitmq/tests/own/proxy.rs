//! A proxy in front of the server, whose connections can be cut.

use std::net::Ipv4Addr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Passes bytes on until it is cut, and then again over new connections.
pub(crate) struct Proxy {
    port: u16,
    cut: std::sync::Arc<parking_lot::Mutex<CancellationToken>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = std::sync::Arc::new(parking_lot::Mutex::new(CancellationToken::new()));
        let cutting = std::sync::Arc::clone(&cut);
        let task = tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let cut = cutting.lock().clone();
                tokio::spawn(cut.run_until_cancelled_owned(async move {
                    let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { return };
                    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                }));
            }
        });
        Self { port, cut, task }
    }

    /// Where it is, instead of the server's own port.
    pub(crate) fn url(&self, url: &str, server: u16) -> String {
        url.replace(&format!(":{server}/"), &format!(":{}/", self.port))
    }

    /// Cuts all connections that there are.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *self.cut.lock()).cancel();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
