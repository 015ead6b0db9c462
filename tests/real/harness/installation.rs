//! The product as a team installs it: Serin by its Helm chart. The controller under test then has the rights of the chart's
//! service account, and no more.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::{Api, PostParams};

use crate::harness::process::output_of;
use crate::harness::programs::{Product, Programs};
use crate::harness::{Outcome, checkout, control_plane, objects};

/// Namespace, and name of the release, the service account and whatever else the chart makes.
pub const NAMESPACE: &str = "serin-system";
const RELEASE: &str = "serin";

/// Longer than any run.
const TOKEN_LIFE: Duration = Duration::from_hours(24);

/// Installs it and writes the kubeconfig of its controller. No pod of it runs: the controller is a process of the harness.
pub async fn install(client: &Client, programs: &Programs, state: &Path) -> Outcome<()> {
    match &programs.product {
        Product::Serin(_) => {
            let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}");
            objects::apply_text(client, &namespace).await?;
            apply_chart(client, programs, state).await?;
            let token = token(client, NAMESPACE, RELEASE).await?;
            control_plane::write_kubeconfig(state, control_plane::CONTROLLER_KUBECONFIG, &token)
        }
        Product::Flagger(_) => {
            let source = programs.place("flagger-source")?;
            objects::apply_lenient_file(client, &source.join("artifacts/flagger/crd.yaml")).await?;
            // It has no command that prints the rights it needs.
            let target = state.join(control_plane::CONTROLLER_KUBECONFIG);
            std::fs::copy(state.join(control_plane::ADMIN_KUBECONFIG), target)?;
            Ok(())
        }
    }
}

async fn apply_chart(client: &Client, programs: &Programs, state: &Path) -> Outcome<()> {
    let rendered = output_of(
        Command::new(programs.place("helm")?)
            .args(["template", RELEASE])
            .arg(checkout().join("charts/serin"))
            .args(["--namespace", NAMESPACE])
            .args(["--set", "leaderElection.replicaCount=0"])
            // It keeps a cache in a home of its own.
            .env("HOME", state),
    )?;
    objects::apply_text(client, &rendered).await
}

/// A token of a service account, such as the chart's.
pub async fn token(client: &Client, namespace: &str, account: &str) -> Outcome<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(i64::try_from(TOKEN_LIFE.as_secs())?),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await?;
    let token = answer.status.and_then(|status| status.token);
    token.ok_or_else(|| "the API server gave no token".into())
}
