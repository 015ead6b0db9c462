//! What a Canary asks of its provider beyond weights, held against what the provider can do and what goes together.
//!
//! Flagger has no such check: an A/B test on a provider that cannot tell requests apart sends all traffic to the canary at once,
//! and a mirror that never reports itself stalls the run (spec/routers.md 10 and 14).

use super::{Capabilities, RouteContext, cookie};
use crate::{api::Strategy, rollout::Refusal};

/// A refusal for each thing that the provider cannot do, that nobody can do at once, or that is malformed, and for a missing port.
pub(super) fn refusals(cx: &RouteContext<'_>, can: Capabilities) -> Vec<Refusal> {
    let spec = &cx.canary.spec;
    let provider = &cx.subject.provider;
    let mut found = Vec::new();
    let mut refuse = |asked: bool, field: &str, message: String| {
        if asked {
            let field = field.to_owned();
            found.push(Refusal { field, message });
        }
    };
    let cannot = |what: &str| format!("provider {provider} cannot {what}; remove the field or choose another provider");
    if let Some(analysis) = &spec.analysis {
        let tests = !analysis.matches.is_empty();
        let sticky = analysis.session_affinity.as_ref();
        refuse(
            tests && !can.matching,
            "spec.analysis.match",
            cannot("tell the requests of a test apart"),
        );
        refuse(
            analysis.mirror && !can.mirror,
            "spec.analysis.mirror",
            cannot("copy traffic to the canary"),
        );
        refuse(
            sticky.is_some() && !can.session_affinity,
            "spec.analysis.sessionAffinity",
            cannot("keep callers on one side"),
        );
        refuse(
            sticky.is_some() && tests && can.session_affinity,
            "spec.analysis.sessionAffinity",
            "cookies and an A/B test both say who goes to the canary; remove one of them".to_owned(),
        );
        let share = analysis.mirror_weight.filter(|_| analysis.mirror);
        refuse(
            share.is_some_and(|percent| !(0..=100).contains(&percent)),
            "spec.analysis.mirrorWeight",
            "is a percentage, from 1 to 100; 0 and none stand for 100".to_owned(),
        );
        if let Some(settings) = sticky.filter(|_| can.session_affinity) {
            found.extend(cookie::refusals(settings));
        }
    }
    found.extend(port(cx));
    found
}

/// A refusal where the port is missing, which no provider does without.
pub(super) fn port(cx: &RouteContext<'_>) -> Option<Refusal> {
    cx.canary.spec.service_port().is_none().then(|| Refusal {
        field: "spec.service.port".to_owned(),
        message: "the port of the Services must be given, from 1 to 65535".to_owned(),
    })
}

/// A sentence for each thing that is asked for, does no harm, and comes to nothing.
pub(super) fn warnings(cx: &RouteContext<'_>) -> Vec<String> {
    let Some(analysis) = &cx.canary.spec.analysis else {
        return Vec::new();
    };
    let mut told = Vec::new();
    if analysis.strategy() == Strategy::AbTesting && analysis.mirror {
        told.push("spec.analysis.mirror is ignored in an A/B test".to_owned());
    }
    if !analysis.mirror && analysis.mirror_weight.is_some() {
        told.push("spec.analysis.mirrorWeight is ignored without spec.analysis.mirror".to_owned());
    }
    told.extend(analysis.session_affinity.iter().flat_map(cookie::warnings));
    told
}

/// A sentence for each field that is set and that the provider leaves out.
pub(super) fn ignored(cx: &RouteContext<'_>, fields: &[(&str, bool)]) -> Vec<String> {
    let set = fields.iter().filter(|(_, set)| *set);
    set.map(|(field, _)| format!("{field} is ignored by provider {}", cx.subject.provider))
        .collect()
}
