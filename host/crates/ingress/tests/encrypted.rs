//! Connections that are encrypted.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

mod common;

use std::sync::Arc;

use common::{Client, Fake, PATIENCE, apart, post, serve_encrypted};
use rcgen::generate_simple_self_signed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use wasmpost_ingress::{Bound, ListenerOptions, TlsFiles};

/// A certificate of localhost in files, and a client that trusts it.
fn certified(directory: &std::path::Path) -> (TlsFiles, TlsConnector) {
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = TlsFiles { certificate: directory.join("certificate.pem"), key: directory.join("key.pem") };
    std::fs::write(&tls.certificate, made.cert.pem()).unwrap();
    std::fs::write(&tls.key, made.signing_key.serialize_pem()).unwrap();
    let mut trusted = RootCertStore::empty();
    trusted.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let client = client.with_safe_default_protocol_versions().unwrap().with_root_certificates(trusted);
    (tls, TlsConnector::from(Arc::new(client.with_no_client_auth())))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_taken_encrypted_and_in_no_other_way() {
    let directory = tempfile::tempdir().unwrap();
    let (tls, connector) = certified(directory.path());
    let broker = Fake::open();
    let ingress = serve_encrypted(&broker, tls);
    let address = ingress.address();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    stream.write_all(post(&[("Connection", "close")], "hidden").as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    drop(read.unwrap());
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let plain = apart(move || {
        let mut client = Client::connect(address);
        client.send(post(&[], "plain"));
        client.receive()
    });
    assert!(plain.await.is_none());
    let stored = broker.stored.lock();
    assert_eq!((stored.len(), &stored[0][0].body[..]), (1, &b"hidden"[..]));
}

#[test]
fn files_that_are_no_certificate_are_told_by_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let (tls, _) = certified(directory.path());
    for (file, content) in [(&tls.certificate, "nothing"), (&tls.key, "-----BEGIN PRIVATE KEY-----\nx\n")] {
        let whole = std::fs::read(file).unwrap();
        std::fs::write(file, content).unwrap();
        let listener =
            ListenerOptions { address: ([127, 0, 0, 1], 0).into(), tls: Some(tls.clone()), connections_max: 1 };
        for error in [listener.check().unwrap_err(), Bound::bind(&listener).map(drop).unwrap_err()] {
            assert!(error.to_string().contains(&file.display().to_string()), "{error}");
        }
        std::fs::write(file, whole).unwrap();
    }
}
