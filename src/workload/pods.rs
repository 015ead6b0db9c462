//! Why pods do not come up, in the words of the scheduler and the kubelet (rank 52 of `spec/users.md`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::endpoints::belongs;
use crate::object::{list, text};

/// Reasons that every container waits for at first.
const ORDINARY: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// So many different reasons are said, the most frequent first.
const MOST: usize = 2;
/// A message is said up to this many bytes.
const LONGEST: usize = 120;

/// What keeps the pods of a Deployment from being ready, each reason with the number of pods; `None` where nothing is out of the
/// ordinary. `pods` may hold others' pods too.
pub fn trouble(pods: &[Value], workload: &str) -> Option<String> {
    let own = pods.iter().filter(|pod| belongs(text(pod, "/metadata/name"), workload));
    let staying = own.filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null));
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for reason in staying.filter_map(reason) {
        *reasons.entry(reason).or_default() += 1;
    }
    let mut reasons: Vec<(String, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let said = reasons.iter().take(MOST).map(|(reason, count)| {
        let pods = if *count == 1 { "pod" } else { "pods" };
        format!("{count} {pods} {reason}")
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// Why one pod is not ready, if anything tells.
fn reason(pod: &Value) -> Option<String> {
    let condition = |type_: &str| {
        let conditions = list(pod, "/status/conditions").iter();
        conditions.clone().find(|it| text(it, "/type") == type_)
    };
    if condition("Ready").is_some_and(|it| text(it, "/status") == "True") {
        return None;
    }
    if let Some(scheduled) = condition("PodScheduled").filter(|it| text(it, "/status") == "False") {
        return Some(spelled(text(scheduled, "/reason"), text(scheduled, "/message")));
    }
    if text(pod, "/status/phase") == "Failed" {
        return Some(spelled(text(pod, "/status/reason"), text(pod, "/status/message")));
    }
    let mut containers = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|kind| list(pod, &format!("/status/{kind}")));
    containers.find_map(container)
}

/// Why one container does not run. One that runs and is not ready may only be slow.
fn container(status: &Value) -> Option<String> {
    let name = text(status, "/name");
    let waiting = text(status, "/state/waiting/reason");
    if !waiting.is_empty() && !ORDINARY.contains(&waiting) {
        let ended = exit(status, "/lastState/terminated").unwrap_or_default();
        let message = text(status, "/state/waiting/message");
        let words = if ended.is_empty() { message } else { &ended };
        return Some(spelled(&format!("{waiting} of container {name}"), words));
    }
    exit(status, "/state/terminated").map(|ended| format!("container {name} {ended}"))
}

/// How a container ended, if badly.
fn exit(status: &Value, at: &str) -> Option<String> {
    let ended = status.pointer(at)?;
    let code = ended
        .get("exitCode")
        .and_then(Value::as_i64)
        .filter(|code| *code != 0)?;
    Some(format!("exited with code {code}, {}", text(ended, "/reason")))
}

fn spelled(reason: &str, message: &str) -> String {
    if message.is_empty() {
        return reason.to_owned();
    }
    let end = message.floor_char_boundary(LONGEST);
    format!("{reason}: {}", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, status: &Value) -> Value {
        json!({"metadata": {"name": format!("app-7d9f-{name}")}, "status": status})
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"phase": "Pending", "containerStatuses": [
            {"name": "app", "ready": false, "state": {"waiting": {"reason": reason, "message": message}}}]})
    }

    #[test]
    fn the_kubelets_and_the_schedulers_words_are_said_with_their_count() {
        let pull = waiting("ImagePullBackOff", "Back-off pulling image \"app:2\"");
        let unschedulable = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]});
        let pods = [pod("aaaaa", &pull), pod("bbbbb", &pull), pod("ccccc", &unschedulable)];
        assert_eq!(
            trouble(&pods, "app").as_deref(),
            Some(
                "2 pods ImagePullBackOff of container app: Back-off pulling image \"app:2\"; \
                 1 pod Unschedulable: 0/3 nodes are available"
            )
        );
    }

    #[test]
    fn a_crash_is_said_with_its_exit_code() {
        let mut crashing = waiting("CrashLoopBackOff", "back-off 10s restarting failed container");
        crashing["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        assert_eq!(
            trouble(&[pod("aaaaa", &crashing)], "app").as_deref(),
            Some("1 pod CrashLoopBackOff of container app: exited with code 137, OOMKilled")
        );
    }

    #[test]
    fn what_is_ordinary_ready_going_or_anothers_is_no_trouble() {
        let pull = waiting("ImagePullBackOff", "");
        let mut going = pod("aaaaa", &pull);
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let mut others = pod("bbbbb", &pull);
        others["metadata"]["name"] = json!("app-primary-7d9f-bbbbb");
        let pods = [
            going,
            pod("ccccc", &ready),
            others,
            pod("ddddd", &waiting("ContainerCreating", "")),
        ];
        assert_eq!(trouble(&pods, "app"), None);
    }
}
