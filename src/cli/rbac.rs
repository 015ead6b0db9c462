//! `serin rbac`: the rights of the controller as a `ClusterRole`, made from the table that the start-up guard checks.

use std::process::ExitCode;

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::ObjectMeta;

use super::FAILED;
use crate::controller::rights;

/// Prints the role.
pub(super) fn run() -> ExitCode {
    let role = ClusterRole {
        metadata: ObjectMeta {
            name: Some("serin".into()),
            ..ObjectMeta::default()
        },
        rules: Some(rights::rules()),
        ..ClusterRole::default()
    };
    match serde_saphyr::to_string(&role) {
        Ok(yaml) => {
            print!("{yaml}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("serin rbac: {error}");
            ExitCode::from(FAILED)
        }
    }
}
