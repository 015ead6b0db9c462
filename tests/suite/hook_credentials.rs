//! Hooks with credentials on real sockets: headers, client certificate and CA, what they are not shown to, and addresses that are
//! out of reach.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use serin::api::{Canary, Webhook};
use serin::hooks::{Caller, Credentials, HookCall, HookError, HttpCaller};
use serin::outbound::Reach;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const CERTIFICATE: &str = include_str!("golden/self_signed.crt");
const KEY: &str = include_str!("golden/self_signed.key");

fn secret(data: &[(&str, &str)]) -> Secret {
    let data = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
    Secret {
        data: Some(data.collect()),
        ..Secret::default()
    }
}

fn call_of(url: &str, credentials: Credentials) -> HookCall {
    let hook = Webhook {
        name: "gate".into(),
        url: url.into(),
        ..Webhook::default()
    };
    let call = HookCall::of(&Canary::default(), &hook, "Progressing", "key").expect("a call");
    HookCall { credentials, ..call }
}

async fn call(url: &str, credentials: Credentials) -> Result<(), HookError> {
    let caller = HttpCaller::new(Reach::Guarded).expect("a client");
    caller.call(&call_of(url, credentials)).await
}

fn headers() -> Credentials {
    let mut credentials = Credentials::default();
    let secret = secret(&[("Authorization", "Bearer s3cret\n"), ("X-Team", "web")]);
    credentials.read_headers(&secret).expect("headers");
    credentials
}

#[tokio::test]
async fn headers_of_a_secret_are_sent_and_never_printed() {
    let server = MockServer::start().await;
    Mock::given(header("authorization", "Bearer s3cret"))
        .and(header("x-team", "web"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    assert_eq!(call(&server.uri(), headers()).await, Ok(()));
    assert!(
        call(&server.uri(), Credentials::default()).await.is_err(),
        "without them it is refused"
    );
    assert!(!format!("{:?}", call_of(&server.uri(), headers())).contains("s3cret"));
}

#[tokio::test]
async fn a_redirect_shows_the_headers_to_nobody_else() {
    let (server, other) = (MockServer::start().await, MockServer::start().await);
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&other)
        .await;
    for (from, to) in [("/near", "/there".to_owned()), ("/far", other.uri())] {
        let away = ResponseTemplate::new(307).insert_header("location", to);
        Mock::given(path(from)).respond_with(away).mount(&server).await;
    }
    Mock::given(path("/there"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    assert_eq!(call(&format!("{}/near", server.uri()), headers()).await, Ok(()));
    let error = call(&format!("{}/far", server.uri()), headers())
        .await
        .expect_err("elsewhere");
    assert!(error.to_string().contains("another server"), "{error}");
    assert_eq!(
        call(&format!("{}/far", server.uri()), Credentials::default()).await,
        Ok(())
    );
    let received = other.received_requests().await.unwrap_or_default();
    assert!(
        received.len() == 1 && !received[0].headers.contains_key("x-team"),
        "{received:?}"
    );
}

#[tokio::test]
async fn a_server_is_checked_against_the_hooks_own_ca_and_checks_the_hooks_certificate() {
    let url = tls_server();
    let mut only_ca = Credentials::default();
    only_ca.read_ca(&secret(&[("ca.crt", CERTIFICATE)])).expect("a CA");
    assert!(
        call(&url, only_ca.clone()).await.is_err(),
        "the server asks for a certificate"
    );
    let mut both = only_ca;
    both.read_client_cert(&secret(&[("tls.crt", CERTIFICATE), ("tls.key", KEY)]))
        .expect("a certificate");
    assert_eq!(call(&url, both.clone()).await, Ok(()));
    let no_ca = Credentials { ca: None, ..both };
    let error = call(&url, no_ca).await.expect_err("nobody else trusts it");
    assert!(matches!(error, HookError::Unsendable { .. }), "{error}");
}

#[tokio::test]
async fn what_is_no_certificate_is_told_without_its_text() {
    let mut credentials = Credentials::default();
    credentials
        .read_client_cert(&secret(&[("tls.crt", "s3cret"), ("tls.key", "s3cret")]))
        .expect("texts");
    let error = call("https://127.0.0.1:1/", credentials)
        .await
        .expect_err("no certificate")
        .to_string();
    assert!(
        error.contains("certificates in its secrets cannot be used") && !error.contains("s3cret"),
        "{error}"
    );
}

#[tokio::test]
async fn metadata_services_are_out_of_reach_also_behind_a_redirect() {
    let server = MockServer::start().await;
    let away = ResponseTemplate::new(307).insert_header("location", "http://169.254.169.254/latest/meta-data");
    Mock::given(path("/away")).respond_with(away).mount(&server).await;
    for url in [
        "http://169.254.169.254/latest/meta-data".to_owned(),
        format!("{}/away", server.uri()),
    ] {
        let error = call(&url, Credentials::default()).await.expect_err("out of reach");
        let HookError::Unsendable { cause, .. } = &error else {
            unreachable!("it must not be tried again: {error}");
        };
        assert!(
            cause.contains("link-local") && cause.contains("-allow-link-local"),
            "{cause}"
        );
    }
}

#[tokio::test]
async fn redirects_come_to_an_end() {
    let server = MockServer::start().await;
    let round = ResponseTemplate::new(307).insert_header("location", "/");
    Mock::given(method("POST")).respond_with(round).mount(&server).await;
    let error = call(&server.uri(), Credentials::default()).await.expect_err("endless");
    assert!(
        matches!(&error, HookError::Unsendable { cause, .. } if cause.contains("more than 10 redirects")),
        "{error}"
    );
    let received = server.received_requests().await.unwrap_or_default();
    assert_eq!(received.len(), 11, "the first one and ten more");
}

/// A server with a certificate of its own making, which asks for the same one and answers 200. Its address.
fn tls_server() -> String {
    serin::tls::init();
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .expect("a verifier");
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .expect("a key that fits the certificate");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let Ok(connection) = rustls::ServerConnection::new(Arc::clone(&config)) else {
                return;
            };
            let mut stream = rustls::StreamOwned::new(connection, socket);
            if stream.read(&mut [0; 4096]).is_ok() {
                let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        }
    });
    format!("https://{address}/")
}
