//! Guests that send requests to forbidden places, seen from the servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::arena::{Aftermath, Arena};
use crate::guests::*;

/// A server on this machine that answers every request with the same bytes, and counts who connects. It ends with the
/// process.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: String, endless: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request);
                    let _ = stream.write_all(answer.as_bytes());
                    // Until the other side closes, or for ever if it never sends anything.
                    while endless && stream.write_all(&[b'x'; 4096]).is_ok() {}
                    let _ = stream.read(&mut request);
                });
            }
        });
        Self { address, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// The reason for which the attacker's message for a request died, or `ok`.
fn outcome(after: &Aftermath, id: &str) -> String {
    let letters = after.letters(A09_FETCHING.name);
    let letter = letters.iter().find(|letter| letter["id"] == id);
    letter.map_or("ok".to_owned(), |letter| {
        let evidence = &letter["evidence"];
        format!("{}: {}", evidence["reason"].as_str().unwrap(), evidence["error"].as_str().unwrap())
    })
}

fn request(id: &str, attributes: Value) -> Value {
    json!({ "id": id, "body": "", "attributes": attributes })
}

#[test]
fn a09_requests_reach_nothing_that_was_not_granted_and_end_in_time() {
    let secret = Server::start("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret".into(), false);
    let location = format!("http://{}/", secret.address);
    let redirecting = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let redirecting = Server::start(redirecting, false);
    let endless = Server::start("HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n".into(), true);
    let silent = Server::start(String::new(), false);
    let rebinding = format!("http://localhost:{}", secret.address.port());
    let port = secret.address.port();
    let settings = format!(
        "http = [\"http://{}\", \"http://{}\", \"http://{}\", {rebinding:?}, \"http://169.254.169.254:{port}\"]\n\
         limits = {{ wall = \"2s\" }}",
        redirecting.address, endless.address, silent.address,
    );
    let messages = vec![
        request("ungranted", json!({ "Url": [location] })),
        request("metadata", json!({ "Url": ["http://169.254.169.254/latest/meta-data/"] })),
        request("a name of this machine", json!({ "Url": [format!("{rebinding}/")] })),
        request("user information", json!({ "Url": [format!("http://{}@{}/", redirecting.address, secret.address)] })),
        request("redirect", json!({ "Url": [format!("http://{}/", redirecting.address)] })),
        request("endless", json!({ "Url": [format!("http://{}/", endless.address)] })),
        request("silent", json!({ "Url": [format!("http://{}/", silent.address)] })),
        request("zero timeout", json!({ "Url": [format!("http://{}/", silent.address)], "Timeout": ["0"] })),
        request(
            "a thousand at once",
            json!({ "Url": [format!("http://{}/", silent.address)], "Mode": ["hold"], "Count": ["1000"] }),
        ),
    ];
    let after = Arena::new().attacker_at(A09_FETCHING.name, A09_FETCHING, &settings, messages).fight();
    for denied in ["ungranted", "metadata", "a name of this machine"] {
        assert_eq!(outcome(&after, denied), "rejected: HttpRequestDenied", "{denied}");
    }
    assert!(outcome(&after, "user information").starts_with("rejected: "), "{}", outcome(&after, "user information"));
    assert_eq!(outcome(&after, "redirect"), "ok", "the guest gets the redirect itself");
    assert!(outcome(&after, "endless").starts_with("rejected: "), "{}", outcome(&after, "endless"));
    assert!(outcome(&after, "silent").starts_with("timeout: ") || outcome(&after, "silent").contains("Timeout"));
    assert!(outcome(&after, "zero timeout").contains("Timeout"), "{}", outcome(&after, "zero timeout"));
    assert_eq!(outcome(&after, "a thousand at once"), "ok");
    assert_eq!(secret.connections(), 0, "what was not granted was never reached");
    assert_eq!(redirecting.connections(), 1);
    // One for each of three requests, and six of the thousand.
    assert!((1..=8).contains(&silent.connections()), "{}", silent.connections());
    let denied = after.logged(A09_FETCHING.name).iter().filter(|text| text.contains("denied")).count();
    assert!(denied >= 3, "each refusal is on record");
}
