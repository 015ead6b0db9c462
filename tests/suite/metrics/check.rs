//! One entry of `analysis.metrics` from spec to verdict, with scripted servers.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use serin::api::{Canary, Metric, Range, TemplateRef};
use serin::metrics::{Check, PlanError, Reader, Reading, Source, Template, check, probe};
use serin::rollout::Verdict;

/// Answers by the server's address and remembers what it was asked.
#[derive(Default)]
struct Script {
    answers: BTreeMap<&'static str, Reading>,
    asked: Mutex<Vec<(String, String)>>,
}

#[async_trait]
impl Reader for Script {
    async fn read(&self, source: &Source, query: &str) -> Reading {
        let address = source.address.reveal().to_owned();
        let answer = self.answers.get(address.as_str()).cloned().unwrap_or(Reading::NoData);
        self.asked.lock().expect("a lock").push((address, query.to_owned()));
        answer
    }

    async fn online(&self, source: &Source) -> Result<(), String> {
        match self.read(source, "online").await {
            Reading::Value(_) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }
}

const GLOBAL: &str = "http://global/";
const OWN: &str = "http://own/";

fn canary() -> Canary {
    let mut canary = Canary::default();
    canary.metadata.name = Some("podinfo".to_owned());
    canary.metadata.namespace = Some("test".to_owned());
    "podinfo".clone_into(&mut canary.spec.target_ref.name);
    canary
}

fn metric(name: &str, query: Option<&str>) -> Metric {
    Metric {
        name: name.to_owned(),
        query: query.map(str::to_owned),
        threshold_range: Some(Range {
            min: Some(10.0),
            max: None,
        }),
        template_ref: Some(TemplateRef {
            name: "latency".to_owned(),
            namespace: None,
        }),
        ..Metric::default()
    }
}

fn template() -> Template {
    Template {
        query: "{{ target }}".to_owned(),
        source: Source::prometheus(OWN).expect("a source"),
    }
}

fn script(answers: &[(&'static str, Reading)]) -> Script {
    Script {
        answers: answers.iter().cloned().collect(),
        ..Script::default()
    }
}

#[tokio::test]
async fn each_query_goes_to_its_server_and_the_worst_answer_counts() {
    let server = Source::prometheus(GLOBAL).map_err(PlanError::Server);
    let (canary, metric) = (canary(), metric("request-duration", Some("up")));
    let cases = [
        (Reading::Value(11.0), Reading::Value(11.0), Verdict::Pass, ""),
        (
            Reading::Value(11.0),
            Reading::Value(9.0),
            Verdict::Fail,
            "Halt podinfo.test advancement request-duration 9.00 < 10",
        ),
        (
            Reading::Unreachable("a".to_owned()),
            Reading::Value(11.0),
            Verdict::Unreachable,
            "Prometheus query failed: running query failed: a",
        ),
    ];
    for (from_global, from_own, verdict, text) in cases {
        let reader = script(&[(GLOBAL, from_global), (OWN, from_own)]);
        let one = Check {
            canary: &canary,
            metric: &metric,
            provider: "contour",
            server: &server,
            template: Ok(Some(template())),
        };
        let judged = check(&reader, &one).await;
        assert_eq!((judged.verdict, judged.text.as_str()), (verdict, text));
        let asked = reader.asked.into_inner().expect("a lock");
        let addresses: Vec<&str> = asked.iter().map(|(address, _)| address.as_str()).collect();
        assert_eq!(addresses, [GLOBAL, GLOBAL, OWN]);
        assert_eq!((asked[1].1.as_str(), asked[2].1.as_str()), ("up", "podinfo"));
    }
}

#[tokio::test]
async fn a_fault_of_the_spec_fails_and_asks_nobody() {
    let server = Source::prometheus("nowhere").map_err(PlanError::Server);
    let absent = PlanError::Template {
        template: "latency.test".to_owned(),
        cause: "not found".to_owned(),
    };
    let (canary, metric) = (canary(), metric("own", None));
    for (template, text) in [
        (
            Ok(None),
            "Metric query failed for no usable metrics template and query were configured",
        ),
        (Err(absent), "Metric template latency.test error: not found"),
    ] {
        let reader = script(&[]);
        let one = Check {
            canary: &canary,
            metric: &metric,
            provider: "contour",
            server: &server,
            template,
        };
        let judged = check(&reader, &one).await;
        assert_eq!((judged.verdict, judged.text.as_str()), (Verdict::Fail, text));
        assert!(reader.asked.into_inner().expect("a lock").is_empty());
    }
}

#[tokio::test]
async fn the_probe_names_the_first_server_that_is_not_there() {
    let up = || Reading::Value(1.0);
    let server = Source::prometheus(GLOBAL).map_err(PlanError::Server);
    let nowhere = Source::prometheus("nowhere").map_err(PlanError::Server);
    let canary = canary();
    let metrics = [
        metric("request-success-rate", None),
        metric("own", None),
        metric("inline", Some("up")),
    ];
    let absent = || PlanError::Template {
        template: "latency.test".to_owned(),
        cause: "not found".to_owned(),
    };
    let cases = [
        (&server, vec![(GLOBAL, up()), (OWN, up())], Ok(Some(template())), Ok(())),
        (
            &server,
            vec![(OWN, up())],
            Ok(Some(template())),
            Err("prometheus not avaiable: NoData"),
        ),
        (
            &server,
            vec![(GLOBAL, up())],
            Ok(Some(template())),
            Err("prometheus in metric template latency.test not avaiable: NoData"),
        ),
        (
            &server,
            vec![(GLOBAL, up())],
            Err(absent()),
            Err("metric template latency.test error: not found"),
        ),
        (
            &nowhere,
            vec![],
            Ok(None),
            Err("error building Prometheus client for prometheus address nowhere is not a valid URL"),
        ),
    ];
    for (server, answers, template, expected) in cases {
        let templates = [Ok(None), template, Ok(None)];
        let checks: Vec<Check<'_>> = metrics
            .iter()
            .zip(templates)
            .map(|(metric, template)| Check {
                canary: &canary,
                metric,
                provider: "contour",
                server,
                template,
            })
            .collect();
        let found = probe(&script(&answers), &checks).await;
        assert_eq!(found, expected.map_err(str::to_owned));
    }
}
