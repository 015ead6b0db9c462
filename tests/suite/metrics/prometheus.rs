//! The Prometheus client on real sockets: what it sends, and what it makes of servers that misbehave.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use serin::api::{Canary, MetricTemplateProvider};
use serin::metrics::{HttpReader, Reader, Reading, Source, server_of};
use serin::outbound::Reach;
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const QUERY: &str = r#" sum( rate( x{a="b & c", d=~"e+f"}[1m] ) ) * 100"#;

fn value(number: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "status": "success",
        "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1_718_000_000.1, number]}]},
    }))
}

async fn server(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(answer).mount(&server).await;
    server
}

fn provider(address: String) -> MetricTemplateProvider {
    MetricTemplateProvider {
        type_: "prometheus".to_owned(),
        address: Some(address),
        ..MetricTemplateProvider::default()
    }
}

fn secret(pairs: &[(&str, &str)]) -> Secret {
    let data = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
    Secret {
        data: Some(data.collect()),
        ..Secret::default()
    }
}

fn with_user(server: &MockServer, user_info: &str, path: &str) -> String {
    format!(
        "{}{path}",
        server.uri().replace("http://", &format!("http://{user_info}@"))
    )
}

async fn read(source: &Source) -> Reading {
    HttpReader::new(Reach::Guarded)
        .expect("a client")
        .read(source, QUERY)
        .await
}

/// The `Authorization` values of each request that came.
async fn authorizations(server: &MockServer) -> Vec<Vec<String>> {
    let requests: Vec<Request> = server.received_requests().await.unwrap_or_default();
    let values = |request: &Request| {
        let values = request.headers.get_all("authorization").into_iter();
        values.map(|value| value.to_str().expect("text").to_owned()).collect()
    };
    requests.iter().map(values).collect()
}

#[tokio::test]
async fn the_query_arrives_as_it_is_behind_the_path_of_the_address() {
    for base in ["", "/", "/prom", "/prom/", "/prom/?tenant=1"] {
        let server = MockServer::start().await;
        let expected = format!("{}/api/v1/query", if base.contains("prom") { "/prom" } else { "" });
        Mock::given(method("GET"))
            .and(path(expected))
            .and(query_param("query", QUERY))
            .respond_with(value("98.5"))
            .mount(&server)
            .await;
        let source = Source::prometheus(&format!("{}{base}", server.uri())).expect("a source");
        assert_eq!(read(&source).await, Reading::Value(98.5), "{base}");
        let requests = server.received_requests().await.unwrap_or_default();
        assert_eq!(requests[0].url.query_pairs().count(), 1, "only the query is sent");
    }
}

#[tokio::test]
async fn there_is_one_authorization_and_the_secrets_wins() {
    // Base64 of user:pass and of admin:s3cret.
    let (from_url, from_secret) = ("Basic dXNlcjpwYXNz", "Basic YWRtaW46czNjcmV0");
    let basic = secret(&[("username", "admin"), ("password", "s3cret\n")]);
    let token = secret(&[("token", "t0ken\n"), ("username", "admin"), ("password", "s3cret")]);
    let cases = [
        ("user:pass", false, None, from_url),
        ("user:pass", true, Some(&basic), from_secret),
        ("user:pass", true, Some(&token), "Bearer t0ken"),
        ("user:pass", true, None, "Custom header"),
    ];
    for (user_info, own_header, secret, expected) in cases {
        let server = server(value("1")).await;
        let mut provider = provider(with_user(&server, user_info, ""));
        if own_header {
            let values = vec!["Custom header".to_owned()];
            provider.headers = BTreeMap::from([("authorization".to_owned(), values)]);
        }
        let source = Source::of_template(&provider, secret).expect("a source");
        for _ in 0..2 {
            assert_eq!(read(&source).await, Reading::Value(1.0));
        }
        assert_eq!(authorizations(&server).await, [[expected], [expected]]);
    }
}

#[tokio::test]
async fn headers_of_the_template_are_sent_with_all_their_values() {
    let server = server(value("1")).await;
    let mut provider = provider(server.uri());
    provider.headers = BTreeMap::from([("X-Scope-OrgID".to_owned(), vec!["a".to_owned(), "b".to_owned()])]);
    let source = Source::of_template(&provider, None).expect("a source");
    assert_eq!(read(&source).await, Reading::Value(1.0));
    let requests = server.received_requests().await.unwrap_or_default();
    let values: Vec<_> = requests[0].headers.get_all("x-scope-orgid").into_iter().collect();
    assert_eq!(values, ["a", "b"]);
    assert!(
        requests[0].headers["user-agent"]
            .to_str()
            .is_ok_and(|agent| agent.starts_with("serin/"))
    );
}

#[tokio::test]
async fn no_error_names_the_password_the_token_or_the_address() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let redirecting = server(ResponseTemplate::new(302).insert_header("location", "/round-and-round")).await;
    let slow = server(value("1").set_delay(Duration::from_secs(3))).await;
    let secret = secret(&[("token", "t0ken")]);
    let addresses = [
        format!("http://user:s3cret@127.0.0.1:{closed}/hidden-path"),
        with_user(&redirecting, "user:s3cret", "/hidden-path"),
        with_user(&slow, "user:s3cret", "/hidden-path"),
        "http://user:s3cret@no-such-host.invalid/hidden-path".to_owned(),
    ];
    let reader = HttpReader::with_timeout(Reach::Guarded, Duration::from_millis(500)).expect("a client");
    for address in addresses {
        let source = Source::of_template(&provider(address.clone()), Some(&secret)).expect("a source");
        let reading = reader.read(&source, QUERY).await;
        let Reading::Unreachable(text) = &reading else {
            panic!("{address}: {reading:?}");
        };
        assert!(!text.is_empty());
        for part in ["s3cret", "t0ken", "hidden-path", "user"] {
            assert!(!text.contains(part), "{text:?} holds {part:?}");
            assert!(!format!("{source:?}").contains(part), "{source:?} holds {part:?}");
        }
    }
}

#[tokio::test]
async fn servers_that_misbehave_are_told_apart() {
    let huge = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{}"#,
        " ".repeat(2 << 20)
    );
    let bad_query = json!({"status": "error", "errorType": "bad_data", "error": "parse error at char 1"});
    let cases = [
        (
            ResponseTemplate::new(400).set_body_json(bad_query),
            Err("bad_data: parse error at char 1"),
        ),
        (
            ResponseTemplate::new(401).set_body_string("who are you"),
            Ok("401 Unauthorized: who are you"),
        ),
        (
            ResponseTemplate::new(200).set_body_string(huge),
            Err("aggregate the query"),
        ),
        (
            ResponseTemplate::new(502).set_body_string("<html>bad gateway"),
            Ok("<html>bad gateway"),
        ),
        (
            ResponseTemplate::new(200).set_body_string("<html>log in"),
            Ok("not one of Prometheus: <html>log in"),
        ),
        (ResponseTemplate::new(503), Ok("503")),
    ];
    for (answer, expected) in cases {
        let server = server(answer).await;
        let source = Source::prometheus(&server.uri()).expect("a source");
        let reading = read(&source).await;
        let fits = match (&reading, expected) {
            (Reading::Failed(text), Err(part)) | (Reading::Unreachable(text), Ok(part)) => text.contains(part),
            _ => false,
        };
        assert!(fits, "{expected:?}: {reading:?}");
    }
}

#[tokio::test]
async fn online_is_a_server_that_can_count_to_one() {
    let cases = [
        (value("1"), Ok(())),
        (value("2"), Err("value is not 1 for query: vector(1)")),
        (
            ResponseTemplate::new(500).set_body_string("down"),
            Err("running query failed: error response: Status 500"),
        ),
    ];
    for (answer, expected) in cases {
        let server = MockServer::start().await;
        Mock::given(method("GET"))
            .and(query_param("query", "vector(1)"))
            .respond_with(answer)
            .mount(&server)
            .await;
        let source = Source::prometheus(&server.uri()).expect("a source");
        let online = HttpReader::new(Reach::Guarded).expect("a client").online(&source).await;
        match expected {
            Ok(()) => assert_eq!(online, Ok(())),
            Err(start) => assert!(online.as_ref().is_err_and(|text| text.starts_with(start)), "{online:?}"),
        }
    }
}

#[tokio::test]
async fn a_canarys_own_server_is_asked_instead_of_the_controllers() {
    let own = server(value("1")).await;
    let global = Source::prometheus("http://prometheus:9090").expect("a source");
    let mut canary = Canary::default();
    assert_eq!(server_of(&canary, &global), Ok(global.clone()));
    canary.spec.metrics_server = Some(own.uri());
    let source = server_of(&canary, &global).expect("a source");
    assert_eq!(read(&source).await, Reading::Value(1.0));
    canary.spec.metrics_server = Some("user:s3cret@prometheus".to_owned());
    let error = server_of(&canary, &global).expect_err("no URL").to_string();
    assert_eq!(
        error,
        "Error building Prometheus client for prometheus address prometheus is not a valid URL"
    );
}

#[test]
fn a_secret_that_lacks_a_key_and_a_kind_that_is_not_known_are_named() {
    let provider = provider("http://prometheus".to_owned());
    let cases = [
        (secret(&[]), "prometheus credentials does not contain a username"),
        (
            secret(&[("username", "u")]),
            "prometheus credentials does not contain a password",
        ),
        (
            secret(&[("token", "\n"), ("username", "u")]),
            "prometheus credentials does not contain a password",
        ),
    ];
    for (secret, expected) in cases {
        let error = Source::of_template(&provider, Some(&secret)).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
    let other = MetricTemplateProvider {
        type_: "abacus".to_owned(),
        ..provider
    };
    let error = Source::of_template(&other, None).expect_err("no such kind");
    assert_eq!(error.to_string(), r#"metrics provider "abacus" is not supported"#);
}
