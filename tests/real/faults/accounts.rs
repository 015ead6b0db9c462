//! A service account for each controller, so that the audit log tells one from another. Each has the rights that Serin says it needs,
//! and no more.

use std::path::PathBuf;
use std::process::Command;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::harness::cluster::Cluster;
use crate::harness::process::output_of;
use crate::harness::programs::Product;
use crate::harness::{Outcome, control_plane, installation, objects};

/// The accounts' namespace. `tests/cluster/config/audit.yaml` knows it.
const NAMESPACE: &str = "controllers-under-test";

/// What an account's name is preceded by in the audit log.
pub const PREFIX: &str = "system:serviceaccount:controllers-under-test:";

/// Creates the namespace, and gives rights to whatever account there will be in it.
pub async fn prepare(cluster: &Cluster) -> Outcome<()> {
    let Product::Serin(program) = &cluster.programs.product else {
        return Err("the faults are for Serin".into());
    };
    let role = output_of(Command::new(program).arg("rbac"))?.replace("name: serin", &format!("name: {NAMESPACE}"));
    objects::apply_text(&cluster.client, &role).await?;
    let group = "rbac.authorization.k8s.io";
    let objects = [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }),
        json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "ClusterRoleBinding",
            "metadata": { "name": NAMESPACE },
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": NAMESPACE },
            "subjects": [{ "apiGroup": group, "kind": "Group", "name": format!("system:serviceaccounts:{NAMESPACE}") }],
        }),
    ];
    for object in objects {
        objects::apply_text(&cluster.client, &object.to_string()).await?;
    }
    Ok(())
}

/// Creates the account and gives a kubeconfig for it.
pub async fn create(cluster: &Cluster, name: &str) -> Outcome<PathBuf> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let account = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
    accounts.create(&PostParams::default(), &account).await?;
    let token = installation::token(&cluster.client, NAMESPACE, name).await?;
    let file = format!("kubeconfig-{name}");
    control_plane::write_kubeconfig(&cluster.state, &file, &token)?;
    Ok(cluster.state.join(file))
}
