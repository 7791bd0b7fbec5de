//! Outgoing HTTP: what guests reach, what they do not, and what they are told.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod client;
mod guest;
mod web;

use client::Client;
use guest::built;
use wasmpost_msg::{Publication, Reason};
use web::{Names, Server, certified};

fn status(response: &Publication) -> &str {
    response.attributes.get("Status").unwrap()
}

const HEAD_TOO_LARGE: &str = "HttpResponseHeaderSectionSize(Some(32768))";
const DENIED: &str = "HttpRequestDenied";
const READ_TIMEOUT: &str = "ConnectionReadTimeout";

#[tokio::test]
async fn a_granted_origin_answers() {
    let server = Server::start().await;
    let response = Client::of(&server).fetch(&server.url("/hello?a=b"), &[("Header", "x-tag=7")]).await.unwrap();
    assert_eq!((status(&response), &response.body[..]), ("200", &b"hello"[..]));
    let head = &server.heads()[0];
    assert!(head.starts_with("GET /hello?a=b HTTP/1.1\r\n") && head.contains("x-tag: 7\r\n"), "{head}");
    server.until_left_alone().await;
}

#[tokio::test]
async fn origins_without_a_grant_are_denied_and_not_reached() {
    let server = Server::start().await;
    let port = server.address.port();
    let client = Client::granted(&[&format!("http://10.0.0.1:{port}"), &format!("https://127.0.0.1:{port}")]);
    assert_eq!(client.refused(&server.url("/hello"), &[]).await, DENIED);
    let metadata = Client::granted(&[]).refused("http://169.254.169.254/latest/meta-data", &[]).await;
    assert_eq!((metadata.as_str(), server.connections()), (DENIED, 0));
}

#[tokio::test]
async fn a_granted_name_does_not_lead_to_addresses_that_are_not_public() {
    let server = Server::start().await;
    let port = server.address.port();
    for address in ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "169.254.169.254", "0.0.0.0", "::", "::1"] {
        let names = Names::default().with("inside.test", &[&[address]]);
        let client = Client::granted(&[&format!("http://inside.test:{port}")]).naming(names);
        assert_eq!(client.refused(&format!("http://inside.test:{port}/hello"), &[]).await, DENIED, "{address}");
        assert_eq!(client.names.asked(), ["inside.test"]);
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_granted_name_leads_to_an_address_that_is_granted_itself() {
    let server = Server::start().await;
    let port = server.address.port();
    let names = Names::default().with("inside.test", &[&["10.0.0.1", "127.0.0.1"]]);
    let client = Client::granted(&[&format!("http://inside.test:{port}"), &server.url("")]).naming(names);
    let response = client.fetch(&format!("http://Inside.test:{port}/hello"), &[]).await.unwrap();
    assert_eq!(status(&response), "200");
    assert!(server.heads()[0].contains(&format!("\r\nhost: inside.test:{port}\r\n")), "{:?}", server.heads());
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_what_was_checked_is_connected_to() {
    let good = Server::start().await;
    let port = good.address.port();
    let inside = Server::start_at(&format!("127.0.0.2:{port}"), None).await;
    let names = Names::default().with("rebinds.test", &[&["127.0.0.1"], &["127.0.0.2"]]);
    let client = Client::granted(&[&format!("http://rebinds.test:{port}"), &good.url("")]).naming(names);
    let url = format!("http://rebinds.test:{port}/hello");
    assert_eq!(status(&client.fetch(&url, &[]).await.unwrap()), "200");
    assert_eq!((client.names.asked().len(), good.connections()), (1, 1));
    assert_eq!(client.refused(&url, &[]).await, DENIED);
    assert_eq!((client.names.asked().len(), good.connections(), inside.connections()), (2, 1, 0));
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_told() {
    let names = Names::default().with("empty.test", &[&[]]);
    let client = Client::granted(&["http://empty.test", "http://gone.test"]).naming(names);
    let (empty, gone) =
        (client.refused("http://empty.test/", &[]).await, client.refused("http://gone.test/", &[]).await);
    assert!(empty.starts_with("DnsError") && empty.contains("no address"), "{empty}");
    assert!(gone.starts_with("DnsError") && gone.contains("no such name"), "{gone}");
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let server = Server::start().await;
    let elsewhere = Server::start().await;
    let url = server.url(&format!("/redirect?{}", elsewhere.url("/hello")));
    let response = Client::of(&server).fetch(&url, &[]).await.unwrap();
    assert_eq!(status(&response), "302");
    assert_eq!(response.attributes.get("Location"), Some(elsewhere.url("/hello").as_str()));
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn no_spelling_of_a_url_leads_elsewhere() {
    let granted = Server::start().await;
    let evil = Server::start().await;
    let client = Client::of(&granted);
    let own = granted.address;
    let other = evil.address;
    let urls = [
        format!("http://{own}@{other}/hello"),
        format!("http://user:{}@{other}/hello", own.port()),
        format!("http://user@{own}/hello"),
        format!("http://{own}#@{other}/hello"),
        format!("http://{own}\\@{other}/hello"),
        format!("http://{own}?@{other}/hello"),
        format!("http://{own},{other}/hello"),
        format!("http://{own}\r\nHost: {other}/hello"),
        format!("http://{own}/~http://{other}/hello"),
        format!("http://{own}/~//{other} HTTP/1.1\r\nHost: {other}\r\n\r\n"),
        format!("http://127.1:{}/hello", own.port()),
        format!("http://0x7f000001:{}/hello", own.port()),
        format!("http://[::ffff:127.0.0.1]:{}/hello", own.port()),
        format!("http://127.0.0.1.:{}/hello", own.port()),
        format!("http://127.0.0.1:0{}/hello", other.port()),
        format!("gopher://{own}/hello"),
        "http:///hello".to_owned(),
    ];
    for url in urls {
        let told = client.refused(&url, &[]).await;
        assert!(told == DENIED || told.ends_with(" refused"), "{url}: {told}");
    }
    assert_eq!((granted.connections(), evil.connections()), (0, 0));
}

#[tokio::test]
async fn a_guest_does_not_choose_the_host_that_a_server_sees() {
    let server = Server::start().await;
    let client = Client::of(&server);
    for header in ["host=evil.test", "Host=evil.test", "transfer-encoding=chunked", "connection=upgrade"] {
        let told = client.refused(&server.url("/hello"), &[("Header", header)]).await;
        assert_eq!(told, "HeaderError::Forbidden", "{header}");
    }
    for header in ["x=a\r\nHost: evil.test", "x\r\nHost=evil.test", "x =a", "x:=a"] {
        let told = client.refused(&server.url("/hello"), &[("Header", header)]).await;
        assert_eq!(told, "HeaderError::InvalidSyntax", "{header:?}");
    }
    assert_eq!(server.connections(), 0);
    assert_eq!(status(&client.fetch(&server.url("/hello"), &[]).await.unwrap()), "200");
    let head = server.heads()[0].to_lowercase();
    assert_eq!(head.matches("host:").count(), 1, "{head}");
    assert!(head.contains(&format!("host: {}\r\n", server.address)), "{head}");
}

#[tokio::test]
async fn a_tunnel_is_refused() {
    let server = Server::start().await;
    for method in ["CONNECT", "connect", "Connect"] {
        let told = Client::of(&server).refused(&server.url("/hello"), &[("Method", method)]).await;
        assert_eq!((told.as_str(), server.connections()), ("HttpRequestMethodInvalid", 0), "{method}");
    }
}

#[tokio::test]
async fn a_server_that_stalls_ends_with_the_timeout_of_the_guest() {
    let server = Server::start().await;
    for timeout in ["0", "1", "100000000"] {
        for path in ["/stall", "/slow"] {
            let told = Client::of(&server).refused(&server.url(path), &[("Timeout", timeout)]).await;
            assert_eq!(told, READ_TIMEOUT, "{path} {timeout}");
        }
    }
    server.until_left_alone().await;
}

#[tokio::test]
async fn connecting_for_no_time_at_all_is_no_fault_of_the_host() {
    let server = Server::start().await;
    let times = [("Timeout", "0"), ("Connect-Timeout", "0")];
    let told = Client::of(&server).refused(&server.url("/stall"), &times).await;
    assert!(["ConnectionTimeout", READ_TIMEOUT].contains(&told.as_str()), "{told}");
}

#[tokio::test]
async fn no_timeout_of_a_guest_is_longer_than_its_call() {
    let server = Server::start().await;
    let client = Client::of(&server).limited(|limits| limits.wall = "300ms".parse().unwrap());
    for timeout in [&[("Timeout", "18446744073709551615")][..], &[]] {
        let error = client.fetch(&server.url("/stall"), timeout).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Timeout, "{error}");
    }
    server.until_left_alone().await;
}

#[tokio::test]
async fn a_response_over_its_limit_is_an_error() {
    let server = Server::start().await;
    let client = Client::of(&server).limited(|limits| limits.http_body = "10KiB".parse().unwrap());
    for path in ["/endless", "/declared"] {
        assert_eq!(client.refused(&server.url(path), &[]).await, "HttpResponseBodySize(Some(10240))", "{path}");
    }
    server.until_left_alone().await;
}

#[tokio::test]
async fn a_request_over_its_limit_is_an_error() {
    let server = Server::start().await;
    let client = Client::of(&server).limited(|limits| limits.http_body = "10KiB".parse().unwrap());
    let over = "HttpRequestBodySize(Some(10240))";
    let post = [("Method", "POST"), ("Body-Bytes", "1000000")];
    assert_eq!(client.refused(&server.url("/stall"), &post).await, over);
    let declared = [post[0], post[1], ("Content-Length", "1000000")];
    assert_eq!(client.refused(&server.url("/stall"), &declared).await, over);
    server.until_left_alone().await;
    assert_eq!(server.connections(), 1, "what says that it is too long is not sent at all");
    let fits = [("Method", "POST"), ("Body-Bytes", "10240")];
    assert_eq!(status(&client.fetch(&server.url("/hello"), &fits).await.unwrap()), "200");
}

#[tokio::test]
async fn a_head_over_its_limit_is_an_error() {
    let server = Server::start().await;
    for path in ["/headers", "/long-head", "/long-head?lines", "/long-head?reason"] {
        assert_eq!(Client::of(&server).refused(&server.url(path), &[]).await, HEAD_TOO_LARGE, "{path}");
    }
    server.until_left_alone().await;
}

#[tokio::test]
async fn informational_heads_are_few_and_count_with_the_head_of_the_response() {
    let server = Server::start().await;
    let client = Client::of(&server);
    assert_eq!(status(&client.fetch(&server.url("/early?16"), &[]).await.unwrap()), "200");
    for path in ["/early?17", "/early", "/early-long"] {
        assert_eq!(client.refused(&server.url(path), &[]).await, HEAD_TOO_LARGE, "{path}");
    }
    server.until_left_alone().await;
}

#[tokio::test]
async fn fields_of_a_request_over_their_limit_end_the_call() {
    let server = Server::start().await;
    let header = format!("x={}", "x".repeat(40 << 10));
    let error = Client::of(&server).fetch(&server.url("/hello"), &[("Header", &header)]).await.unwrap_err();
    assert!(error.reason() == Reason::Trap && error.text().contains("total size of fields"), "{error}");
}

#[tokio::test]
async fn unsent_requests_hold_little_of_the_host() {
    let client = Client::granted(&[]);
    let told = |bytes: &'static str| {
        let attributes = [("Mode", "unsent"), ("Count", "1"), ("Bytes", bytes)];
        let client = &client;
        async move { client.run(&attributes).await.map_err(|error| error.text().to_owned()) }
    };
    assert_eq!(told("64").await, Ok(vec![]));
    assert_eq!(told("65").await, Err("method refused".to_owned()));
    assert_eq!(told("1000000").await, Err("authority refused".to_owned()));
}

#[tokio::test]
async fn a_response_that_breaks_off_is_an_error() {
    let server = Server::start().await;
    assert_eq!(Client::of(&server).refused(&server.url("/cut"), &[]).await, "HttpResponseIncomplete");
}

#[tokio::test]
async fn nobody_there_is_told() {
    let port = {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        gone.local_addr().unwrap().port()
    };
    let origin = format!("http://127.0.0.1:{port}");
    assert_eq!(Client::granted(&[&origin]).refused(&format!("{origin}/"), &[]).await, "ConnectionRefused");
}

#[tokio::test]
async fn requests_are_counted_and_few_are_open_at_a_time() {
    let server = Server::start().await;
    let attributes = [("Url", &*server.url("/stall")), ("Mode", "hold"), ("Count", "1000")];
    let published = Client::of(&server).run(&attributes).await.unwrap();
    let told = std::str::from_utf8(&published[0].body).unwrap();
    let text = r#"InternalError(Some(\"a delivery may make 32 HTTP requests\"))"#;
    assert_eq!(told, format!(r#"{{"ConnectionLimitReached": 26, "{text}": 968, "taken": 6}}"#));
    assert!(server.connections() <= 6, "{}", server.connections());
    server.until_left_alone().await;
}

#[tokio::test]
async fn a_request_that_is_over_makes_room_for_the_next() {
    let server = Server::start().await;
    let client = Client::of(&server).limited(|limits| limits.http_open = 1);
    assert_eq!(status(&client.fetch(&server.url("/hello"), &[("Count", "32")]).await.unwrap()), "200");
    assert_eq!(server.connections(), 32);
    let told = client.refused(&server.url("/hello"), &[("Count", "33")]).await;
    assert!(told.contains("a delivery may make 32 HTTP requests"), "{told}");
}

#[tokio::test]
async fn denied_requests_count_as_well() {
    let attributes = [("Url", "http://denied.test/"), ("Mode", "hold"), ("Count", "40")];
    let published = Client::granted(&[]).run(&attributes).await.unwrap();
    let told = std::str::from_utf8(&published[0].body).unwrap();
    assert!(told.contains(r#""HttpRequestDenied": 32"#) && told.contains("InternalError"), "{told}");
}

#[tokio::test]
async fn requests_that_a_guest_leaves_open_end_with_its_call() {
    let server = Server::start().await;
    let attributes = [("Url", &*server.url("/slow")), ("Mode", "leave"), ("Read", "1")];
    assert_eq!(Client::of(&server).run(&attributes).await, Ok(vec![]));
    assert_eq!(server.connections(), 1);
    server.until_left_alone().await;
}

#[tokio::test]
async fn tls_reaches_servers_whose_certificate_is_trusted_and_names_them() {
    let (authority, tls) = certified("secure.test");
    let server = Server::start_at("127.0.0.1:0", Some(tls)).await;
    let port = server.address.port();
    let origin = |name: &str| format!("https://{name}:{port}");
    let addresses: &[&[&str]] = &[&["127.0.0.1"]];
    let client = || {
        let names = Names::default().with("secure.test", addresses).with("other.test", addresses);
        Client::granted(&[&origin("secure.test"), &origin("other.test"), &origin("127.0.0.1")]).naming(names)
    };
    let trusting = Client { authorities: vec![authority], ..client() };
    let response = trusting.fetch(&format!("{}/hello", origin("secure.test")), &[]).await.unwrap();
    assert_eq!((status(&response), &response.body[..]), ("200", &b"hello"[..]));
    let fault = "TlsCertificateError";
    assert_eq!(trusting.refused(&format!("{}/hello", origin("other.test")), &[]).await, fault);
    assert_eq!(trusting.refused(&format!("{}/hello", origin("127.0.0.1")), &[]).await, fault);
    assert_eq!(client().refused(&format!("{}/hello", origin("secure.test")), &[]).await, fault);
    assert_eq!(server.heads().len(), 1);
}

#[tokio::test]
async fn tls_with_a_server_that_has_none_is_told() {
    let server = Server::start().await;
    let origin = format!("https://{}", server.address);
    let client = Client::granted(&[&origin]).limited(|limits| limits.wall = "5s".parse().unwrap());
    let told = client.refused(&format!("{origin}/hello"), &[("Timeout", "1"), ("Connect-Timeout", "200000000")]).await;
    assert_eq!(told, "ConnectionTimeout", "the server waits for a request that it can read");
    server.until_left_alone().await;
}

#[test]
fn a_component_that_imports_http_needs_origins() {
    let sandbox = guest::sandbox();
    let loaded = sandbox.load(&built("a09-fetching")).unwrap();
    assert!(loaded.needs().contains(&"origins to request"), "{:?}", loaded.needs());
}
