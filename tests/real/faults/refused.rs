//! An admission policy of the cluster refuses the way back: no route may take all weight from a canary. Found before traffic moves,
//! the run waits. Where it comes in the middle of a run, the way home is tried until it is open again.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::faults::ledger::Request;
use crate::faults::scene::{Findings, Scene};
use crate::faults::trial::Trial;
use crate::harness::Outcome;
use crate::harness::listener::Answers;

const NAMESPACE: &str = "refused";

/// What the policy says.
const WORDS: &str = "the platform team allows no way back";

/// The name of the policy and of its binding.
const POLICY: &str = "no-way-back";

/// How long the API server may need to learn of a policy, or of its end.
const NEWS: Duration = Duration::from_mins(2);

/// One release that finds the policy at its start, and one that meets it on its way.
pub async fn run(scene: &Scene<'_>, number: u16) -> Outcome<Findings> {
    let mut findings = Findings::default();
    let controller = scene.controller(number, NAMESPACE).await?;
    let trial = scene.trial(NAMESPACE).await?;

    forbid(&trial, scene).await?;
    let start = trial.release("2.0.0").await?;
    let status = refusal(&trial).await?;
    findings.expect(
        format!(
            "A refusal of the way back is found before the first weight, and said in the API server's words ({})",
            status["serin"]["why"]["message"]
        ),
        status["canaryWeight"] == 0 && status["serin"]["stage"] == "Raising",
    );
    sleep(Duration::from_secs(3)).await;
    let ledger = scene.ledger(NAMESPACE)?;
    let moved = ledger
        .writes_by_controllers("httpproxies", start)
        .map(Request::words)
        .collect::<Vec<_>>();
    findings.expect(format!("Until then no route was written ({moved:?})"), moved.is_empty());
    allow(&trial, scene).await?;
    let phase = trial.until_rest(1).await?;
    findings.expect(
        format!("When the policy goes the release is promoted ({phase})"),
        phase == "Succeeded",
    );
    findings.ended(&trial, 0, start).await?;

    let start = trial.release("3.0.0").await?;
    trial.until_weight(30).await?;
    forbid(&trial, scene).await?;
    scene.listener.answer(&trial.id(), Answers::Badly);
    let status = refusal(&trial).await?;
    let ready = status["conditions"].as_array().into_iter().flatten();
    let conditions: Vec<_> = ready
        .filter(|condition| condition["reason"] == "WriteRefused")
        .map(|condition| condition["type"].as_str().unwrap_or_default())
        .collect();
    findings.expect(
        format!("A way home that is refused stands in the conditions ({conditions:?})"),
        conditions.contains(&"Ready"),
    );
    let mut tries = 0;
    let patience = Instant::now() + NEWS;
    while tries < 2 && Instant::now() < patience {
        sleep(Duration::from_secs(1)).await;
        let ledger = scene.ledger(NAMESPACE)?;
        let refused = ledger.requests().filter(|request| {
            let its = request.is_by_controller() && request.resource() == "httpproxies";
            its && !request.is_dry_run() && !request.is_accepted() && request.answered > start
        });
        tries = refused.count();
    }
    findings.expect(format!("It is tried again and again ({tries} times)"), tries > 1);
    allow(&trial, scene).await?;
    let phase = trial.until_rest(2).await?;
    findings.expect(
        format!("When the policy goes traffic goes home and the run ends ({phase})"),
        phase == "Failed",
    );
    let facts = trial.end(start).await?.facts;
    let of = |name: &str| facts.iter().find(|fact| fact.0 == name).map(|fact| fact.1.as_str());
    findings.expect(
        format!("2.0.0 has all traffic again ({facts:?})"),
        of("route") == Some("100/0") && of("primary's version") == Some("2.0.0") && of("target's size") == Some("0"),
    );
    findings.expectations.push(controller.ends_cleanly().await?);
    Ok(findings)
}

/// Waits until the reason is a refusal in the policy's words, and gives the status.
async fn refusal(trial: &Trial<'_>) -> Outcome<serde_json::Value> {
    trial
        .until("the refusal is said", |status| {
            let why = &status["serin"]["why"];
            let said = why["message"].as_str().is_some_and(|message| message.contains(WORDS));
            why["reason"] == "WriteRefused" && said
        })
        .await
}

/// Puts the policy up and waits until it refuses.
async fn forbid(trial: &Trial<'_>, scene: &Scene<'_>) -> Outcome<()> {
    let client = &scene.cluster.client;
    let rule = json!({ "apiGroups": ["projectcontour.io"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["httpproxies"] });
    let policy = json!({
        "metadata": { "name": POLICY },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [rule] },
            "validations": [{
                "expression": "!has(object.spec.routes) || object.spec.routes.all(route, route.services.all(service, \
                               service.name != 'shop-canary' || (has(service.weight) && service.weight > 0)))",
                "message": WORDS,
            }],
        },
    });
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    policies
        .create(&PostParams::default(), &serde_json::from_value(policy)?)
        .await?;
    let binding = json!({
        "metadata": { "name": POLICY },
        "spec": {
            "policyName": POLICY,
            "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": NAMESPACE } } },
        },
    });
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    bindings
        .create(&PostParams::default(), &serde_json::from_value(binding)?)
        .await?;
    until_way_back_is(trial, false).await?;
    trial.say("may not go back");
    Ok(())
}

/// Takes the policy down and waits until nothing is refused.
async fn allow(trial: &Trial<'_>, scene: &Scene<'_>) -> Outcome<()> {
    let client = &scene.cluster.client;
    let now = DeleteParams::default();
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    bindings.delete(POLICY, &now).await?;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    policies.delete(POLICY, &now).await?;
    until_way_back_is(trial, true).await?;
    trial.say("may go back");
    Ok(())
}

/// Tries, without effect, to give the canary no weight, until the answer is so.
async fn until_way_back_is(trial: &Trial<'_>, open: bool) -> Outcome<()> {
    let proxies: Api<DynamicObject> = trial.api("projectcontour.io", "v1", "HTTPProxy");
    let services = json!([
        { "name": "shop-primary", "port": 80, "weight": 100 },
        { "name": "shop-canary", "port": 80, "weight": 0 },
    ]);
    let way_back = json!({ "spec": { "routes": [{ "conditions": [{ "prefix": "/" }], "services": services }] } });
    let deadline = Instant::now() + NEWS;
    let parameters = PatchParams::default().dry_run();
    loop {
        let answer = proxies.patch(&trial.name, &parameters, &Patch::Merge(&way_back)).await;
        if answer.is_ok() == open {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the way back is not open: {open}, {NEWS:?} after the change of the policy").into());
        }
        sleep(Duration::from_millis(200)).await;
    }
}
