//! Hooks on real sockets: what is sent, which answers pass, which are asked for again, and what is told of failures.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use serin::api::{Analysis, Canary, CanaryStatus, HookType, Webhook};
use serin::hooks::{Caller, HookCall, HookError, HttpCaller, payload};
use serin::outbound::Reach;
use serin::rollout::Notice;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn canary() -> Canary {
    let mut canary = Canary::default();
    canary.metadata.name = Some("podinfo".to_owned());
    canary.metadata.namespace = Some("test".to_owned());
    canary.metadata.uid = Some("uid".to_owned());
    canary
}

fn hook(url: &str) -> Webhook {
    Webhook {
        name: "load-test".to_owned(),
        url: url.to_owned(),
        metadata: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        ..Webhook::default()
    }
}

fn call_of(hook: &Webhook) -> HookCall {
    HookCall::of(&canary(), hook, "Progressing", "uid/1/2/3/hook-0").expect("a call")
}

async fn call(hook: &Webhook) -> Result<(), HookError> {
    HttpCaller::new(Reach::Guarded)
        .expect("a client")
        .call(&call_of(hook))
        .await
}

async fn server(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    server
}

async fn requests(server: &MockServer) -> usize {
    server.received_requests().await.map_or(0, |requests| requests.len())
}

#[tokio::test]
async fn core_026_the_payload_is_flaggers_byte_for_byte() {
    let server = server(ResponseTemplate::new(200)).await;
    call(&hook(&format!("{}/gate?x=1", server.uri())))
        .await
        .expect("200 must pass");
    let received = server.received_requests().await.unwrap_or_default();
    let expected =
        r#"{"name":"podinfo","namespace":"test","phase":"Progressing","checksum":"758df7c9fc","metadata":{"k":"v"}}"#;
    assert_eq!(String::from_utf8_lossy(&received[0].body), expected);
    assert_eq!(received[0].url.path(), "/gate");
    let header = |name: &str| received[0].headers[name].to_str().unwrap_or_default().to_owned();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("idempotency-key"), "uid/1/2/3/hook-0");
    assert!(header("user-agent").starts_with("serin/"));
}

#[test]
fn the_payload_leaves_empty_metadata_out_and_follows_the_status() {
    let mut canary = canary();
    canary.status = Some(CanaryStatus {
        tracked_configs: Some(BTreeMap::from([(
            "test-config-map".to_owned(),
            "484637c76acaa7c6".to_owned(),
        )])),
        last_applied_spec: Some("4cb74184589".to_owned()),
        ..CanaryStatus::default()
    });
    let body = payload::Payload::of(&canary, "Waiting", BTreeMap::new());
    let expected = r#"{"name":"podinfo","namespace":"test","phase":"Waiting","checksum":"569bdb7cb9"}"#;
    assert_eq!(serde_json::to_string(&body).expect("JSON"), expected);
}

#[tokio::test]
async fn any_2xx_passes_and_every_other_final_answer_is_told_by_its_body() {
    for status in [200, 201, 202, 203, 204, 206, 299] {
        let server = server(ResponseTemplate::new(status)).await;
        assert_eq!(call(&hook(&server.uri())).await, Ok(()), "{status}");
    }
    for (status, body, expected) in [
        (403, "nope\n", "nope"),
        (404, "", "status 404 Not Found"),
        (501, "not built", "not built"),
    ] {
        let server = server(ResponseTemplate::new(status).set_body_string(body)).await;
        let hook = Webhook {
            retries: Some(3),
            ..hook(&server.uri())
        };
        assert_eq!(call(&hook).await.expect_err(expected).to_string(), expected);
        assert_eq!(requests(&server).await, 1, "{status} is final");
    }
}

#[tokio::test]
async fn core_030_an_answer_that_may_pass_is_asked_for_again() {
    let server = MockServer::start().await;
    let first = Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(500))
        .up_to_n_times(1)
        .with_priority(1);
    first.mount(&server).await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(202))
        .mount(&server)
        .await;
    let hook = Webhook {
        retries: Some(1),
        ..hook(&server.uri())
    };
    let started = Instant::now();
    assert_eq!(call(&hook).await, Ok(()));
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "the first wait is a second"
    );
    let received = server.received_requests().await.unwrap_or_default();
    assert_eq!(received.len(), 2);
    assert_eq!(
        received[0].headers["idempotency-key"],
        received[1].headers["idempotency-key"]
    );
}

#[tokio::test]
async fn the_body_of_a_5xx_is_told_and_the_path_of_the_address_is_not() {
    let answer = ResponseTemplate::new(500).set_body_string("command false failed: exit status 1");
    let server = server(answer).await;
    let url = format!(
        "{}/hidden-path?token=s3cret",
        server.uri().replace("http://", "http://user:pa55@")
    );
    let error = call(&hook(&url)).await.expect_err("500 must fail").to_string();
    let expected = format!(
        "POST {} giving up after 1 attempt(s): status 500 Internal Server Error: command false failed: exit status 1",
        server.uri()
    );
    assert_eq!(error, expected);
}

#[tokio::test]
async fn the_server_says_when_to_come_back() {
    let server = server(ResponseTemplate::new(429).insert_header("retry-after", "0")).await;
    let hook = Webhook {
        retries: Some(4),
        ..hook(&server.uri())
    };
    let started = Instant::now();
    let error = call(&hook).await.expect_err("429 must fail").to_string();
    assert!(
        error.ends_with("giving up after 5 attempt(s): status 429 Too Many Requests"),
        "{error}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "waits of 0 s were asked for"
    );
}

#[tokio::test]
async fn a_hook_that_cannot_be_reached_is_told_without_its_secrets() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let slow = server(ResponseTemplate::new(200).set_delay(Duration::from_secs(5))).await;
    let cases = [
        (
            format!("http://user:s3cret@127.0.0.1:{closed}/hidden-path"),
            "giving up after 1 attempt(s): cannot connect",
        ),
        (
            format!("{}/hidden-path", slow.uri()),
            "giving up after 1 attempt(s): no answer in time",
        ),
        ("not-a-scheme://user:s3cret@host/hidden-path".to_owned(), "failed: "),
        (
            "hidden-path".to_owned(),
            "POST to an invalid URL failed: not a usable address",
        ),
    ];
    for (url, expected) in cases {
        let hook = Webhook {
            timeout: Some("200ms".into()),
            ..hook(&url)
        };
        let error = call(&hook).await.expect_err(&url).to_string();
        assert!(error.contains(expected), "{url}: {error}");
        assert!(!error.contains("s3cret") && !error.contains("hidden-path"), "{error}");
        assert!(!format!("{:?}", call_of(&hook)).contains("hidden-path"));
    }
}

#[tokio::test]
async fn a_redirect_is_followed_as_go_follows_it() {
    for (status, verb) in [(302, "GET"), (307, "POST")] {
        let server = MockServer::start().await;
        let away = ResponseTemplate::new(status).insert_header("location", "/there");
        Mock::given(path("/here")).respond_with(away).mount(&server).await;
        Mock::given(method(verb))
            .and(path("/there"))
            .respond_with(ResponseTemplate::new(204))
            .mount(&server)
            .await;
        assert_eq!(call(&hook(&format!("{}/here", server.uri()))).await, Ok(()), "{status}");
    }
}

#[tokio::test]
async fn core_031_a_certificate_that_is_not_trusted_is_final_unless_it_is_not_verified() {
    let url = tls_server();
    let untrusted = Webhook {
        retries: Some(5),
        ..hook(&url)
    };
    let error = call(&untrusted).await.expect_err("an unknown issuer must not pass");
    assert!(
        matches!(&error, HookError::Unsendable { cause, .. } if cause.contains("certificate")),
        "{error}"
    );
    let trusting = Webhook {
        disable_tls: true,
        ..hook(&url)
    };
    assert_eq!(call(&trusting).await, Ok(()));
}

#[test]
fn a_timeout_is_read_as_go_reads_it() {
    let timeout = |text: Option<&str>| {
        let hook = Webhook {
            timeout: text.map(Into::into),
            ..hook("http://host")
        };
        HookCall::of(&canary(), &hook, "", "")
            .map(|call| call.timeout)
            .map_err(|error| error.to_string())
    };
    let ten = Ok(Duration::from_secs(10));
    assert_eq!(timeout(None), ten);
    assert_eq!(timeout(Some("")), ten);
    assert_eq!(timeout(Some("5")), ten);
    assert_eq!(timeout(Some("0s")), ten);
    assert_eq!(timeout(Some("1m30s")), Ok(Duration::from_secs(90)));
    assert_eq!(
        timeout(Some("soon")),
        Err(r#"time: invalid duration "soon""#.to_owned())
    );
}

#[test]
fn an_event_goes_to_the_canarys_own_hooks_or_to_the_controllers() {
    let notice = Notice {
        id: "3-advance-20".to_owned(),
        text: "Advance podinfo.test canary weight 20".to_owned(),
        warning: true,
        action: "Advance".to_owned(),
        phase: "Progressing".to_owned(),
        alert: None,
        event: true,
    };
    let at = chrono::DateTime::from_timestamp_millis(1_718_000_000_123).expect("a time");
    let calls = |hooks: Vec<Webhook>, global: Option<&str>| {
        let mut canary = canary();
        canary.spec.analysis = Some(Analysis {
            webhooks: hooks,
            ..Analysis::default()
        });
        payload::event_calls(&canary, &notice, at, global)
    };
    let event = |url: &str| Webhook {
        type_: Some(HookType::Event),
        metadata: BTreeMap::from([("eventType", "mine"), ("team", "web")].map(|(k, v)| (k.to_owned(), v.to_owned()))),
        ..hook(url)
    };

    let own = calls(
        vec![hook("http://load"), event("http://a"), event("http://b")],
        Some("http://global"),
    );
    let own: Vec<HookCall> = own.into_iter().map(|call| call.expect("a call")).collect();
    let urls: Vec<&str> = own.iter().map(|call| call.url.reveal()).collect();
    assert_eq!(urls, ["http://a", "http://b"]);
    assert_ne!(own[0].idempotency_key, own[1].idempotency_key);
    let body: Value = serde_json::to_value(&own[0].body).expect("JSON");
    assert_eq!(
        body["metadata"],
        json!({
            "eventMessage": "Advance podinfo.test canary weight 20",
            "eventType": "Warning",
            "timestamp": "1718000000123",
            "team": "web",
        })
    );
    assert_eq!(body["phase"], "Progressing");

    let global = calls(vec![hook("http://load")], Some("http://global"));
    let global: Vec<HookCall> = global.into_iter().map(|call| call.expect("a call")).collect();
    assert_eq!(global.len(), 1);
    assert_eq!((global[0].url.reveal(), global[0].retries), ("http://global", 0));
    assert!(calls(vec![], None).is_empty() && calls(vec![], Some("")).is_empty());

    let broken = Webhook {
        timeout: Some("soon".into()),
        ..event("http://a")
    };
    let mixed = calls(vec![broken, event("http://b")], None);
    assert!(
        mixed[0].is_err() && mixed[1].is_ok(),
        "one broken hook must not silence the other"
    );
}

/// A server with a certificate of its own making, which answers 200 to everything. Its address.
fn tls_server() -> String {
    serin::tls::init();
    let certificate = CertificateDer::from_pem_slice(include_bytes!("golden/self_signed.crt")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("golden/self_signed.key")).expect("a key");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
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
            // A client that does not trust the certificate hangs up here.
            if stream.read(&mut [0; 4096]).is_ok() {
                let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        }
    });
    format!("https://{address}/")
}
