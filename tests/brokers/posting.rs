//! Messages by HTTP while the broker is away.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wasmpost_tests::PATIENCE;
use wasmpost_tests::proxy::{Mode, Proxy};
use wasmpost_tests::servers::Server;

use crate::scene::{CONCURRENCY, Scene};

/// Posts a message under an id: the status of the answer, whether it tells when to come again, and what it says.
async fn post(address: SocketAddr, id: &str) -> (u16, bool, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /posted HTTP/1.1\r\nHost: a\r\nIdempotency-Key: {id}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.contains("retry-after: "), serde_json::from_str(body).unwrap())
}

pub(crate) async fn a_request_is_refused_while_the_broker_is_away_and_taken_when_it_is_back(scene: &mut Scene) {
    let proxy = Proxy::start(scene.server.port()).await;
    scene.configure("proxied.toml", &scene.server.url_by(proxy.port()), CONCURRENCY);
    let deduplicates = matches!(scene.server, Server::Nats(_));
    let file = scene.place.path().join("proxied.toml");
    let more = format!(
        "[[ingress]]\nlisten = \"127.0.0.1:0\"\npath = \"/posted\"\ntopic = \"posted\"\nsignature = \"none\"\n\
         deduplicate = {deduplicates}\n"
    );
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + &more).unwrap();
    let mut host = scene.host("host", "proxied.toml");
    let address = host.wait_for("listening for requests")["address"].as_str().unwrap().parse().unwrap();
    let taken = |duplicate: bool| (202, false, serde_json::json!({ "id": "before", "duplicate": duplicate }));
    assert_eq!(post(address, "before").await, taken(false));
    assert_eq!(post(address, "before").await, taken(deduplicates));
    proxy.set(Mode::BlackHole);
    let (status, tells_when, problem) = post(address, "meanwhile").await;
    assert_eq!((status, tells_when), (503, true), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("under the same id"), "{problem}");
    proxy.set(Mode::Pass);
    let began = Instant::now();
    while post(address, "meanwhile").await.0 != 202 {
        assert!(began.elapsed() < PATIENCE, "requests are taken again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    host.signal("TERM");
    let (code, log) = host.end();
    assert_eq!(code, Some(0), "{log}");
}
