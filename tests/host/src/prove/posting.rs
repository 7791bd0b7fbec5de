//! Load by HTTP: a publisher that notes in the ledger what it posts and what is answered 202.

use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wasmpost_tests::prove::letter::Letter;
use wasmpost_tests::prove::seen::{Ledger, Standing};

/// The headers that become attributes: all attributes of letters.
pub const HEADERS: [&str; 5] = ["Do", "Copies", "Fails", "Spins", "Note"];
/// The headers for id and key.
pub const ID: &str = "X-Id";
/// See `ID`.
pub const KEY: &str = "X-Key";

/// Posts messages one after the other on one connection, until all are posted or the host is gone.
pub async fn post_all(address: Option<SocketAddr>, ids: Vec<String>, ledger: &Mutex<Ledger>) {
    let Some(address) = address else { return };
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    for id in ids {
        ledger.lock().unwrap().send(&id);
        let Some(answer) = post(&mut stream, &id).await else { return };
        match answer.split(' ').nth(1) {
            Some("202") => ledger.lock().unwrap().answer(&id, Standing::Confirmed),
            // It is about to end.
            Some("503") => return,
            _ => panic!("{id} was answered: {answer}"),
        }
    }
}

/// Posts a message and gives the answer; none if it never came.
async fn post(stream: &mut TcpStream, id: &str) -> Option<String> {
    let letter = Letter::of(id);
    let mut head = format!("POST /work HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n{ID}: {id}\r\n", letter.body.len());
    letter.key.iter().for_each(|key| head.push_str(&format!("{KEY}: {key}\r\n")));
    for (name, values) in &letter.attributes {
        values.iter().for_each(|value| head.push_str(&format!("{name}: {value}\r\n")));
    }
    let mut request = (head + "\r\n").into_bytes();
    request.extend_from_slice(&letter.body);
    stream.write_all(&request).await.ok()?;
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await.ok()?;
        answer.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0_usize) {
                return Some(text.into_owned());
            }
        }
        if read == 0 {
            return None;
        }
    }
}
