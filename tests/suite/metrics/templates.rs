//! Templates, held to what Go's own engine makes of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serin::api::{Canary, Metric, ObjectRef, ServiceSpec};
use serin::metrics::{RenderError, render};

/// One template and what Go makes of it; made by `golden/go_templates/main.go`.
#[derive(Debug, Deserialize)]
struct Golden {
    template: String,
    output: Option<String>,
    fails: Option<String>,
}

fn canary() -> Canary {
    let reference = |name: &str| ObjectRef {
        name: name.to_owned(),
        ..ObjectRef::default()
    };
    let mut canary = Canary::default();
    canary.metadata.name = Some("podinfo".to_owned());
    canary.metadata.namespace = Some("test".to_owned());
    canary.spec.target_ref = reference("podinfo");
    canary.spec.ingress_ref = Some(reference("podinfo-ing"));
    canary.spec.service = Some(ServiceSpec {
        name: Some("podinfo-svc".to_owned()),
        ..ServiceSpec::default()
    });
    canary
}

#[test]
fn templates_render_as_in_go() {
    let metric = Metric {
        template_variables: BTreeMap::from(
            [("cluster", "eu-1"), ("a-b", "dashed"), ("quote", r#"say "hi""#)]
                .map(|(k, v)| (k.to_owned(), v.to_owned())),
        ),
        ..Metric::default()
    };
    let cases: Vec<Golden> =
        serde_json::from_str(include_str!("../golden/go_templates.json")).expect("the golden file must be JSON");
    assert!(cases.len() > 60, "the golden file has {} cases", cases.len());
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let got = render(&case.template, &canary(), &metric);
            let stage = match &got {
                Ok(_) => None,
                Err(RenderError::Parse(_)) => Some("parse"),
                Err(RenderError::Execute(_)) => Some("execute"),
            };
            let same = got.as_ref().ok() == case.output.as_ref() && stage == case.fails.as_deref();
            (!same).then(|| {
                format!(
                    "{:?}: Go {:?} {:?}, Serin {got:?}",
                    case.template, case.output, case.fails
                )
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
