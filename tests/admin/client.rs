//! A client of HTTP that is as small as can be, and a host to talk to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Instant;

use serde_json::Value;
use wasmpost_tests::{PATIENCE, Place};

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// A host with an admin listener.
pub(crate) struct Admin {
    child: std::process::Child,
    pub(crate) address: String,
    pub(crate) token: String,
    log: mpsc::Receiver<String>,
}

impl Admin {
    /// Starts a host that makes a token for its run, and waits until it says where its page is.
    pub(crate) fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command =
            place.command(&[&["run", "--admin", "127.0.0.1:0", "--log-format", "json"], arguments].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || log.lines().map_while(Result::ok).all(|line| send.send(line).is_ok()));
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let Some((address, token)) =
            first.trim().strip_prefix("page: http://").and_then(|page| page.split_once("/#token="))
        else {
            panic!("no page in {first:?}; log: {:?}", lines.iter().collect::<Vec<_>>());
        };
        Self { child, address: address.to_owned(), token: token.to_owned(), log: lines }
    }

    /// Waits until it is ready, degraded or not.
    pub(crate) fn until_ready(self) -> Self {
        let began = Instant::now();
        while self.ask("GET", "/readyz", "", None).status != 200 {
            assert!(began.elapsed() < PATIENCE, "the host is not ready");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        self
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &self.token, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &self.token, Some(&body.to_string()))
    }

    pub(crate) fn ask(&self, method: &str, path: &str, token: &str, body: Option<&str>) -> Answer {
        ask(&self.address, method, path, token, body)
    }

    /// Everything that it logs until its end.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        wasmpost_tests::signal(&self.child, "TERM");
        let log: Vec<_> = self.log.iter().collect();
        (self.child.wait().unwrap().code(), log.join("\n"))
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // One that ended well is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks something of a listener.
pub(crate) fn ask(address: &str, method: &str, path: &str, token: &str, body: Option<&str>) -> Answer {
    let body = body.unwrap_or_default();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked { unchunked(body) } else { body.to_owned() };
    Answer { status, head: head.to_owned(), body }
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        body.push_str(&after[..length]);
        rest = after[length..].trim_start_matches("\r\n");
    }
    body
}
