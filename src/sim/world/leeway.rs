//! How far the pods of a Deployment may stray from the wanted number while it rolls: `maxSurge`, `maxUnavailable`, `Recreate`.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::util::intstr::IntOrString};

/// How far a roll may go above and below the wanted size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leeway {
    pub(super) surge: i32,
    pub(super) unavailable: i32,
}

/// `spec.replicas`, 1 when unset.
pub(super) fn desired(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// `maxSurge` rounded up and `maxUnavailable` rounded down; both nothing would never move, so one may be unavailable.
pub(super) fn leeway(deployment: &Deployment) -> Leeway {
    let wanted = desired(deployment);
    if is_recreate(deployment) || wanted == 0 {
        return Leeway {
            surge: 0,
            unavailable: 0,
        };
    }
    let rolling = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref())
        .and_then(|strategy| strategy.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".into());
    let surge = rolling
        .and_then(|rolling| rolling.max_surge.as_ref())
        .unwrap_or(&quarter);
    let unavailable = rolling
        .and_then(|rolling| rolling.max_unavailable.as_ref())
        .unwrap_or(&quarter);
    let surge = part(surge, wanted, |share| {
        share.div_euclid(100) + i32::from(share.rem_euclid(100) > 0)
    });
    let unavailable = part(unavailable, wanted, |share| share.div_euclid(100)).min(wanted);
    if wanted > 0 && surge == 0 && unavailable == 0 {
        return Leeway { surge, unavailable: 1 };
    }
    Leeway { surge, unavailable }
}

fn part(value: &IntOrString, of: i32, round: impl Fn(i32) -> i32) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => round(
            text.trim_end_matches('%')
                .parse::<i32>()
                .unwrap_or(0)
                .saturating_mul(of),
        ),
    }
}

pub(super) fn is_recreate(deployment: &Deployment) -> bool {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref())
        .is_some_and(|strategy| strategy.type_.as_deref() == Some("Recreate"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leeway_is_rounded_towards_having_more_pods() {
        for (replicas, rolling, surge, unavailable) in [
            (4, json!({}), 1, 1),
            (3, json!({}), 1, 0),
            (10, json!({ "maxSurge": "15%", "maxUnavailable": "15%" }), 2, 1),
            (2, json!({ "maxSurge": 0, "maxUnavailable": "25%" }), 0, 1),
            (2, json!({ "maxSurge": 0, "maxUnavailable": 5 }), 0, 2),
            (0, json!({ "maxSurge": 3 }), 0, 0),
        ] {
            let mut manifest = super::super::manifests::deployment("test", "app", "app:1", replicas);
            manifest["spec"]["strategy"] = json!({ "type": "RollingUpdate", "rollingUpdate": rolling });
            let deployment: Deployment = serde_json::from_value(manifest).expect("the manifest must be a Deployment");
            assert_eq!(
                leeway(&deployment),
                Leeway { surge, unavailable },
                "{replicas} replicas with {rolling}"
            );
        }
    }
}
