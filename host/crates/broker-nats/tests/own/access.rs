//! Authentication, TLS and permissions.

use wasmpost_broker_nats::NatsBroker;
use wasmpost_delivery::{Access, BrokerErrorKind};
use wasmpost_tests::certificates::Authority;
use wasmpost_tests::servers::NatsServer;

pub(crate) async fn user_and_password_let_a_host_in() {
    let server = NatsServer::start_with("authorization { user: worker, password: \"s p&c\" }").await.unwrap();
    let access = |password: &str| Access {
        user: Some("worker".into()),
        password: Some(password.to_owned().into()),
        ..Access::default()
    };
    NatsBroker::open(&server.url(), &access("s p&c")).await.unwrap();
    for access in [access("guessed"), Access::default()] {
        let error = NatsBroker::open(&server.url(), &access).await.err().unwrap();
        assert_eq!(error.kind(), BrokerErrorKind::Invalid, "{error}");
        let text = error.to_string();
        assert!(text.contains("authentication failed") && !text.contains("guessed"), "{text}");
    }
}

pub(crate) async fn a_token_lets_a_host_in() {
    let server = NatsServer::start_with("authorization { token: \"t0k3n\" }").await.unwrap();
    let access = Access { token: Some("t0k3n".to_owned().into()), ..Access::default() };
    NatsBroker::open(&server.url(), &access).await.unwrap();
    assert!(NatsBroker::open(&server.url(), &Access::default()).await.is_err());
}

pub(crate) async fn a_certificate_of_an_own_authority_is_trusted_and_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let authority = Authority::new();
    let ca_file = file("ca.pem", authority.pem().to_owned());
    let issue = |name: &str, host: &str| {
        let certified = authority.certify(host);
        (file(&format!("{name}.pem"), certified.pem()), file(&format!("{name}.key"), certified.key_pem()))
    };
    let (certificate, key) = issue("server", "127.0.0.1");
    let tls = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca_file:?}, verify: true }}");
    let server = NatsServer::start_with(&tls).await.unwrap();
    let (certificate, key) = issue("client", "worker");
    let trusting = Access { ca_file: Some(ca_file), ..Access::default() };
    let known = Access { certificate_file: Some(certificate), key_file: Some(key), ..trusting.clone() };
    let url = format!("{}/wasmpost?tls=yes", server.url());
    NatsBroker::open(&url, &known).await.unwrap();
    assert!(NatsBroker::open(&url, &trusting).await.is_err(), "a client without a certificate is not let in");
    let distrusting = Access { ca_file: None, ..known };
    assert!(NatsBroker::open(&url, &distrusting).await.is_err(), "an unknown authority is not trusted");
}
