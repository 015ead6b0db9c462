//! What a Canary asks of its provider beyond weights, held against what the provider can do.
//!
//! Flagger has no such check: an A/B test on a provider without header routing sends all traffic to the canary at once,
//! and a mirror that never reports itself stalls the run (spec/routers.md 10 and 14).

use super::{RouteContext, RouterMeta};
use crate::rollout::Refusal;

/// A refusal for each thing that the provider cannot do, and for a missing port, which no provider does without.
pub(super) fn refusals(cx: &RouteContext<'_>, meta: &RouterMeta) -> Vec<Refusal> {
    let spec = &cx.canary.spec;
    let provider = &cx.subject.provider;
    let mut found = Vec::new();
    let mut refuse = |asked: bool, able: bool, field: &str, what: &str| {
        if asked && !able {
            found.push(Refusal {
                field: field.to_owned(),
                message: format!("provider {provider} cannot {what}; remove the field or choose another provider"),
            });
        }
    };
    if let Some(analysis) = &spec.analysis {
        let can = meta.capabilities;
        let (tests, mirrors) = (!analysis.matches.is_empty(), analysis.mirror);
        refuse(
            tests,
            can.headers,
            "spec.analysis.match",
            "send requests to the canary by header",
        );
        refuse(
            mirrors,
            can.mirror,
            "spec.analysis.mirror",
            "copy traffic to the canary",
        );
        let sticky = analysis.session_affinity.is_some();
        refuse(
            sticky,
            can.session_affinity,
            "spec.analysis.sessionAffinity",
            "keep callers on one side",
        );
    }
    if spec.service_port().is_none() {
        found.push(Refusal {
            field: "spec.service.port".to_owned(),
            message: "the port of the Services must be given, from 1 to 65535".to_owned(),
        });
    }
    found
}

/// A sentence for each field that is set and that the provider leaves out.
pub(super) fn ignored(cx: &RouteContext<'_>, fields: &[(&str, bool)]) -> Vec<String> {
    let set = fields.iter().filter(|(_, set)| *set);
    set.map(|(field, _)| format!("{field} is ignored by provider {}", cx.subject.provider))
        .collect()
}
