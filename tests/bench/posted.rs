//! Publishing by HTTP to the embedded queue, on connections that are kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wasmpost_broker_sqlite::SqliteBroker;
use wasmpost_delivery::Broker;
use wasmpost_ingress::{Bound, CloudEvents, Endpoint, EndpointOptions, Ingress, ListenerOptions, Method, Signature};

use crate::BODY_BYTES;
use crate::measure::{Sample, timed_async};

/// Posts so many messages on so many connections, each of which waits for an answer before it goes on. Senders are in this
/// process too, and cost what they cost.
pub(crate) async fn post_all(broker: &Arc<SqliteBroker>, connections: usize, messages: usize) -> Sample {
    let listener = ListenerOptions { address: ([127, 0, 0, 1], 0).into(), tls: None, connections_max: connections };
    let options = EndpointOptions {
        path: "/bench".into(),
        topic: "bench".into(),
        signature: Signature::new(Method::None, None).unwrap(),
        headers: Vec::new(),
        id_header: None,
        key_header: None,
        cloud_events: CloudEvents::Accepted,
        content_types: Vec::new(),
        body_bytes_max: 1 << 20,
        rate: None,
        time: Duration::from_secs(30),
    };
    let endpoint = Endpoint::new(options, Arc::clone(broker) as Arc<dyn Broker>);
    let ingress = Ingress::serve(Bound::bind(&listener).unwrap(), vec![endpoint]).unwrap();
    let address = ingress.address();
    let head = format!("POST /bench HTTP/1.1\r\nHost: bench\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    let request: Arc<[u8]> = [head.as_bytes(), &[b'x'; BODY_BYTES]].concat().into();
    let sample = timed_async(async {
        let post_some = |request: Arc<[u8]>| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut answer = [0; 1024];
            for _ in 0..messages / connections {
                stream.write_all(&request).await.unwrap();
                let read = stream.read(&mut answer).await.unwrap();
                assert!(answer[..read].starts_with(b"HTTP/1.1 202 "), "{}", String::from_utf8_lossy(&answer[..read]));
            }
        };
        let senders: Vec<_> = (0..connections).map(|_| tokio::spawn(post_some(Arc::clone(&request)))).collect();
        for sender in senders {
            sender.await.unwrap();
        }
    })
    .await;
    ingress.stop(Duration::from_secs(5)).await;
    sample
}
