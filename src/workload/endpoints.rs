//! Ready pods of a workload, counted from `EndpointSlices` (discovery/v1).
//!
//! What counts is what a router can send traffic to: an endpoint that is ready, is not going away, and is a pod of this
//! very workload. A Service may select pods of the other side for a moment; those carry nothing for this one.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::object::{list, text};

/// The longest beginning of a pod's name before the API server's five random characters (63 − 5).
const LONGEST_STEM: usize = 58;
/// Random characters at the end of a pod's name.
const RANDOM: usize = 5;

/// How many different pods of `workload`, a Deployment, are ready and not terminating in these slices of one Service.
pub fn ready(slices: &[&Value], workload: &str) -> u32 {
    u32::try_from(pods(slices, workload).len()).unwrap_or(u32::MAX)
}

/// Whether pods of the primary, and whether pods of the target, are behind a Service that may lead to either. `primary_slices` are those of
/// the primary's own Service: very long names are cut, and then a pod's name does not tell whose it is.
pub fn sides(slices: &[&Value], primary_slices: &[&Value], primary: &str, target: &str) -> [bool; 2] {
    let of_primary = pods(primary_slices, primary);
    let here = |workload| pods(slices, workload).into_iter();
    [
        here(primary).any(|pod| of_primary.contains(pod)),
        here(target).any(|pod| !of_primary.contains(pod)),
    ]
}

/// The uids of the pods that count.
fn pods<'a>(slices: &[&'a Value], workload: &str) -> BTreeSet<&'a str> {
    slices
        .iter()
        .flat_map(|slice| list(slice, "/endpoints"))
        .filter(|endpoint| is_ready(endpoint))
        .filter(|endpoint| text(endpoint, "/targetRef/kind") == "Pod")
        .filter(|endpoint| belongs(text(endpoint, "/targetRef/name"), workload))
        .map(|endpoint| text(endpoint, "/targetRef/uid"))
        .collect()
}

/// An absent `ready` is to be read as true, an absent `terminating` as false (discovery/v1, `EndpointConditions`).
fn is_ready(endpoint: &Value) -> bool {
    let condition = |name: &str| {
        endpoint
            .pointer(&format!("/conditions/{name}"))
            .and_then(Value::as_bool)
    };
    condition("ready").unwrap_or(true) && !condition("terminating").unwrap_or(false)
}

/// Whether a pod of that name was made for the Deployment: `<workload>-<hash>-<random>`, and nothing between, so that
/// `podinfo-primary-7d9f-x2x4q` is none of `podinfo`'s. The stem of a very long name is cut by the API server.
pub(super) fn belongs(pod: &str, workload: &str) -> bool {
    let Some(stem) = pod.len().checked_sub(RANDOM).and_then(|end| pod.get(..end)) else {
        return false;
    };
    match stem.strip_prefix(workload).and_then(|rest| rest.strip_prefix('-')) {
        Some(rest) => match rest.strip_suffix('-') {
            Some(hash) => !hash.is_empty() && !hash.contains('-'),
            None => stem.len() == LONGEST_STEM && !rest.contains('-'),
        },
        None => stem.len() == LONGEST_STEM && format!("{workload}-").starts_with(stem),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint(pod: &str, conditions: &Value) -> Value {
        json!({"conditions": conditions, "targetRef": {"kind": "Pod", "name": pod, "uid": format!("uid-of-{pod}")}})
    }

    #[test]
    fn a_pod_counts_when_it_is_ready_and_stays() {
        for (conditions, expected) in [
            (json!({"ready": true, "serving": true, "terminating": false}), 1),
            (json!({"ready": true}), 1),
            (json!({}), 1),
            (json!({"ready": false}), 0),
            (json!({"ready": true, "terminating": true}), 0),
        ] {
            let slice = json!({"endpoints": [endpoint("podinfo-7d9f8b6c5-x2x4q", &conditions)]});
            assert_eq!(ready(&[&slice], "podinfo"), expected, "{conditions}");
        }
    }

    #[test]
    fn one_pod_in_two_slices_is_one_pod() {
        let ready_pod = endpoint("podinfo-7d9f8b6c5-x2x4q", &json!({"ready": true}));
        let (v4, v6) = (
            json!({"endpoints": [ready_pod]}),
            json!({"endpoints": [ready_pod], "addressType": "IPv6"}),
        );
        assert_eq!(ready(&[&v4, &v6], "podinfo"), 1);
    }

    #[test]
    fn only_pods_of_the_workload_count() {
        let names = [
            "podinfo-7d9f8b6c5-x2x4q",
            "podinfo-primary-6c8d5-abcde",
            "other-6c8d5-abcde",
            "podinfo-x2x4q",
        ];
        let endpoints: Vec<Value> = names.map(|name| endpoint(name, &json!({"ready": true}))).to_vec();
        let slice = json!({"endpoints": endpoints});
        assert_eq!(ready(&[&slice], "podinfo"), 1);
        assert_eq!(ready(&[&slice], "podinfo-primary"), 1);
        assert_eq!(ready(&[&json!({"endpoints": null}), &json!({})], "podinfo"), 0);
    }

    #[test]
    fn the_name_of_a_pod_may_be_cut() {
        let workload = "a-service-with-a-very-long-name-that-tells-everything";
        let stem = format!("{workload}-7d9f8b6c5-");
        let pod = format!("{}x2x4q", &stem[..LONGEST_STEM]);
        assert!(belongs(&pod, workload));
        assert!(!belongs(&pod, "a-service"));
    }

    #[test]
    fn whose_pods_a_service_has_is_told_by_their_uids_where_names_are_cut() {
        let target = "a-service-with-a-very-long-name-that-tells-everything-12345";
        let primary = format!("{target}-primary");
        let pod = |uid: &str, end: &str| json!({"targetRef": {"kind": "Pod", "name": format!("{}{end}", &target[..LONGEST_STEM]), "uid": uid}});
        let [ours, theirs] = [pod("p", "x2x4q"), pod("t", "abcde")];
        let of = |pods: &[&Value]| json!({"endpoints": pods});
        let own = of(&[&ours]);
        for (behind, expected) in [
            (of(&[&ours]), [true, false]),
            (of(&[&theirs]), [false, true]),
            (of(&[&ours, &theirs]), [true, true]),
            (of(&[]), [false, false]),
        ] {
            assert_eq!(sides(&[&behind], &[&own], &primary, target), expected, "{behind}");
        }
    }

    #[test]
    fn an_address_without_a_pod_is_not_counted() {
        let slice = json!({"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]});
        assert_eq!(ready(&[&slice], "podinfo"), 0);
    }
}
