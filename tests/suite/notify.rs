//! Alerts and Events: who is told, in which words, and how a chat service on a real socket is spoken to.

use chrono::{DateTime, Utc};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use serin::api::{self, AlertProviderSpec, Analysis, Canary, TrafficMatch};
use serin::notify::{Audience, Destination, HttpSender, Sender, audience, event, message};
use serin::outbound::{Hidden, Reach};
use serin::rollout::{Alert, Notice, Severity};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

fn canary(analysis: Analysis) -> Canary {
    let mut canary = Canary::default();
    canary.metadata.name = Some("podinfo".to_owned());
    canary.metadata.namespace = Some("test".to_owned());
    canary.metadata.uid = Some("8b6e".to_owned());
    canary.metadata.resource_version = Some("42".to_owned());
    "Deployment".clone_into(&mut canary.spec.target_ref.kind);
    "podinfo-app".clone_into(&mut canary.spec.target_ref.name);
    canary.spec.analysis = Some(analysis);
    canary
}

fn alert(severity: Severity, with_fields: bool) -> Alert {
    Alert {
        severity,
        message: "Failed checks threshold reached 2".to_owned(),
        with_fields,
    }
}

fn notice(id: &str) -> Notice {
    Notice {
        id: id.to_owned(),
        text: "Advance podinfo.test canary weight 20".to_owned(),
        warning: false,
        action: "Advance".to_owned(),
        phase: "Progressing".to_owned(),
        alert: None,
        event: true,
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_718_000_000_123).expect("a time")
}

#[test]
fn each_entry_hears_its_severity_and_worse_and_without_one_everything() {
    let entry = |name: &str, severity| api::Alert {
        name: name.to_owned(),
        severity,
        ..api::Alert::default()
    };
    let canary = canary(Analysis {
        alerts: vec![
            entry("none", None),
            entry("info", Some(api::Severity::Info)),
            entry("warn", Some(api::Severity::Warn)),
            entry("error", Some(api::Severity::Error)),
        ],
        ..Analysis::default()
    });
    for (severity, expected) in [
        (Severity::Info, &["none", "info"][..]),
        (Severity::Warn, &["none", "info", "warn"]),
        (Severity::Error, &["none", "info", "warn", "error"]),
    ] {
        let Audience::Own(entries) = audience(&canary, severity) else {
            panic!("the canary has alerts of its own");
        };
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn the_controllers_destination_hears_what_names_no_other() {
    assert_eq!(audience(&canary(Analysis::default()), Severity::Info), Audience::Global);
    let deaf = canary(Analysis {
        alerts: vec![api::Alert {
            severity: Some(api::Severity::Error),
            ..api::Alert::default()
        }],
        ..Analysis::default()
    });
    assert_eq!(audience(&deaf, Severity::Info), Audience::Own(vec![]));
}

#[test]
fn a_message_carries_the_fields_of_its_kind_of_run() {
    let titled = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(title, value)| ((*title).to_owned(), (*value).to_owned()))
            .collect()
    };
    let always = [
        ("Cluster", "west"),
        ("Target", "Deployment/podinfo-app.test"),
        ("Failed checks threshold", "1"),
        ("Progress deadline", "600s"),
    ];
    let cases = [
        (Analysis::default(), None),
        (
            Analysis {
                step_weight: Some(10),
                max_weight: Some(50),
                ..Analysis::default()
            },
            Some("Weight step: 10 max: 50"),
        ),
        (
            Analysis {
                step_weights: vec![1, 2, 10],
                ..Analysis::default()
            },
            Some("Weight steps: 1,2,10 max: 0"),
        ),
        (
            Analysis {
                iterations: Some(5),
                ..Analysis::default()
            },
            Some("Blue/Green"),
        ),
        (
            Analysis {
                iterations: Some(5),
                matches: vec![TrafficMatch::default()],
                ..Analysis::default()
            },
            Some("A/B Testing"),
        ),
    ];
    for (analysis, routing) in cases {
        let told = message(&canary(analysis), &alert(Severity::Info, true), Some("west"));
        let routing = routing.map(|routing| ("Traffic routing", routing));
        let expected: Vec<_> = always.into_iter().chain(routing).collect();
        assert_eq!(told.fields, titled(&expected));
    }
    let short = message(
        &canary(Analysis::default()),
        &alert(Severity::Info, false),
        Some("west"),
    );
    assert_eq!(short.fields, titled(&always[..1]));
    let nameless = message(&canary(Analysis::default()), &alert(Severity::Info, false), Some(""));
    assert_eq!(nameless.fields, []);
}

#[test]
fn a_destination_comes_from_the_spec_or_from_its_secret() {
    let secret = |pairs: &[(&str, &str)]| {
        let data = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret {
            data: Some(data.collect()),
            ..Secret::default()
        }
    };
    let provider = AlertProviderSpec {
        type_: "slack".to_owned(),
        address: Some("http://spec".to_owned()),
        ..AlertProviderSpec::default()
    };
    let plain = Destination::of(&provider, None).expect("a destination");
    assert_eq!((plain.address.reveal(), plain.token.as_ref()), ("http://spec", None));
    assert_eq!(
        (plain.channel.as_str(), plain.username.as_str()),
        ("general", "flagger")
    );

    let full = secret(&[("address", "http://secret\n"), ("token", "t0ken\n")]);
    let from_secret = Destination::of(&provider, Some(&full)).expect("a destination");
    assert_eq!(from_secret.address.reveal(), "http://secret");
    assert_eq!(from_secret.token.as_ref().map(Hidden::reveal), Some("t0ken"));
    let shown = format!("{from_secret:?}");
    assert!(!shown.contains("http://secret") && !shown.contains("t0ken"), "{shown}");

    for empty in [secret(&[]), secret(&[("address", "")])] {
        let error = Destination::of(&provider, Some(&empty)).expect_err("no address");
        assert_eq!(error.to_string(), "secret does not contain an address");
    }
    let nowhere = AlertProviderSpec::default();
    assert!(Destination::of(&nowhere, None).is_err());
}

async fn slack(answer: ResponseTemplate) -> (MockServer, Destination) {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    let provider = AlertProviderSpec {
        type_: "slack".to_owned(),
        address: Some(format!("{}/services/T000/B000/hidden", server.uri())),
        channel: Some("releases".to_owned()),
        ..AlertProviderSpec::default()
    };
    let destination = Destination::of(&provider, None).expect("a destination");
    (server, destination)
}

async fn send(destination: &Destination, severity: Severity) -> Result<(), String> {
    let message = message(&canary(Analysis::default()), &alert(severity, false), Some("west"));
    let sender = HttpSender::new(Reach::Guarded).expect("a client");
    sender
        .send(destination, &message)
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn slack_gets_its_payload_with_a_colour_for_each_severity() {
    for (severity, color) in [
        (Severity::Info, "good"),
        (Severity::Warn, "warning"),
        (Severity::Error, "danger"),
    ] {
        let (server, mut destination) = slack(ResponseTemplate::new(200).set_body_string("ok")).await;
        destination.token = Some("t0ken".into());
        assert_eq!(send(&destination, severity).await, Ok(()));
        let received = server.received_requests().await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&received[0].body).expect("JSON");
        let expected = json!({
            "channel": "releases",
            "username": "flagger",
            "icon_url": "",
            "icon_emoji": ":rocket:",
            "attachments": [{
                "color": color,
                "author_name": "podinfo.test",
                "text": "Failed checks threshold reached 2",
                "mrkdwn_in": ["text"],
                "fields": [{"title": "Cluster", "value": "west", "short": false}],
            }],
        });
        assert_eq!(body, expected);
        assert_eq!(received[0].headers["authorization"], "Bearer t0ken");
    }
}

#[tokio::test]
async fn what_slack_does_not_take_is_an_error_that_names_no_address() {
    let no = ResponseTemplate::new(200).set_body_json(json!({"ok": false, "error": "channel_not_found"}));
    let yes = ResponseTemplate::new(200).set_body_json(json!({"ok": true}));
    let cases = [
        (yes, None),
        (no, Some("sending notification refused: channel_not_found")),
        (
            ResponseTemplate::new(403).set_body_string("invalid_token"),
            Some("sending notification bad response 403: invalid_token"),
        ),
    ];
    for (answer, expected) in cases {
        let (_server, destination) = slack(answer).await;
        assert_eq!(send(&destination, Severity::Info).await.err().as_deref(), expected);
    }
    let (server, destination) = slack(ResponseTemplate::new(200)).await;
    drop(server);
    let gone = Destination {
        address: "http://127.0.0.1:1/services/hidden".into(),
        ..destination
    };
    let error = send(&gone, Severity::Info).await.expect_err("nobody listens there");
    assert!(
        error.starts_with("sending notification failed: cannot connect"),
        "{error}"
    );
    assert!(!error.contains("hidden"), "{error}");
}

#[tokio::test]
async fn a_destination_behind_a_proxy_is_reached_through_it() {
    let (proxy, destination) = slack(ResponseTemplate::new(200)).await;
    let behind = Destination {
        address: "http://hooks.example.invalid/services/hidden".into(),
        proxy: Some(proxy.uri().into()),
        ..destination
    };
    assert_eq!(send(&behind, Severity::Info).await, Ok(()));
    assert_eq!(proxy.received_requests().await.map_or(0, |requests| requests.len()), 1);
}

#[tokio::test]
async fn an_unknown_service_is_named() {
    let (_server, destination) = slack(ResponseTemplate::new(200)).await;
    let other = Destination {
        service: "carrier-pigeon".to_owned(),
        ..destination
    };
    let error = send(&other, Severity::Info).await.expect_err("no such service");
    assert_eq!(error, r#"alert provider type "carrier-pigeon" is not supported"#);
}

#[test]
fn an_event_has_flaggers_face() {
    let object = event(&canary(Analysis::default()), &notice("3-advance-20"), now());
    let mut shown = serde_json::to_value(&object).expect("JSON");
    let name = shown["metadata"]["name"].take();
    assert_eq!(
        shown,
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": null, "namespace": "test"},
            "involvedObject": {
                "apiVersion": "flagger.app/v1beta1",
                "kind": "Canary",
                "name": "podinfo",
                "namespace": "test",
                "uid": "8b6e",
                "resourceVersion": "42",
            },
            "reason": "Synced",
            "action": "Advance",
            "message": "Advance podinfo.test canary weight 20",
            "type": "Normal",
            "source": {"component": "flagger"},
            "reportingComponent": "flagger",
            "firstTimestamp": "2024-06-10T06:13:20Z",
            "lastTimestamp": "2024-06-10T06:13:20Z",
            "count": 1,
        })
    );
    assert!(
        name.as_str()
            .is_some_and(|name| name.starts_with("podinfo.") && name.len() == 8 + 16),
        "{name}"
    );
}

#[test]
fn an_events_name_is_the_notices_identity() {
    let name = |canary: &Canary, id: &str| event(canary, &notice(id), now()).metadata.name.unwrap_or_default();
    let one = canary(Analysis::default());
    let mut reborn = one.clone();
    reborn.metadata.uid = Some("other".to_owned());
    let mut changed = one.clone();
    changed.metadata.resource_version = Some("43".to_owned());
    assert_eq!(name(&one, "1-start"), name(&changed, "1-start"));
    assert_ne!(name(&one, "1-start"), name(&one, "2-start"));
    assert_ne!(name(&one, "1-start"), name(&reborn, "1-start"));
}

#[test]
fn names_and_messages_fit_whatever_their_length() {
    let mut long = canary(Analysis::default());
    long.metadata.name = Some(format!("{}-.{}", "a".repeat(234), "b".repeat(17)));
    let warning = Notice {
        text: "é".repeat(600),
        warning: true,
        ..notice("1-start")
    };
    let object = event(&long, &warning, now());
    let name = object.metadata.name.unwrap_or_default();
    assert!(name.len() <= 253 && !name.contains("-."), "{name}");
    assert_eq!(object.message.unwrap_or_default().len(), 1024);
    assert_eq!(object.type_.as_deref(), Some("Warning"));
}
