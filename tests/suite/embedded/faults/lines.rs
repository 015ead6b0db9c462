//! Two applications and one slot.

use std::num::NonZeroU32;

use serin::{rollout::Limits, sim::world::manifests};

use super::replays;
use crate::embedded::{setting::NAMESPACE, stage::Stage};

fn phase(stage: &Stage, name: &str) -> String {
    let canary = stage.object(super::CANARY, "Canary", name);
    canary["status"]["phase"].as_str().unwrap_or_default().to_owned()
}

replays! {
    two_releases_with_one_slot_end_the_same_whatever_call_fails with "contour", taken_over,
    |setting| setting
        .settings(|settings| settings.limits = Limits { fleet: NonZeroU32::new(1), namespace: None })
        .beside("basket", 3, "contour", &manifests::analysis("10s", 2, 60, 20)),
    |stage| {
        stage.until("both taken over", |stage| phase(stage, "basket") == "Initialized").await;
        stage.pass(90).await;
        stage.push("app:2").await;
        stage.change(&manifests::image(NAMESPACE, "basket", "app:2")).await;
        for name in ["app", "basket"] {
            stage.until("both released", |stage| phase(stage, name) == "Succeeded").await;
        }
    }
}
