//! What must be true when everything has come to rest.

use std::collections::BTreeMap;

use super::{
    draw::{Event, Schedule},
    play::BESIDE,
};
use crate::embedded::{setting::APP, stage::Stage, story::Moment};

/// What is wrong at rest, where `lost` requests got no answer in the last minute.
pub fn wrong(schedule: &Schedule, stage: &Stage, lost: f64) -> Vec<String> {
    let status = stage.status();
    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            wrong.push(what);
        }
    };
    let scaled = schedule
        .script
        .iter()
        .any(|(_, event)| matches!(event, Event::Scale(..)));
    check(
        stage.weight() == Some(0) || schedule.provider == "kubernetes",
        format!("the route is at {:?}", stage.weight()),
    );
    check(
        stage.selects("app") == "app-primary",
        format!("the apex selects {}", stage.selects("app")),
    );
    check(
        scaled || stage.replicas("app") == 0,
        format!("the target has {} replicas", stage.replicas("app")),
    );
    // A primary that a person has scaled to zero at rest stays so: that is their will.
    let is_to_zero = |event: &Event| matches!(event, Event::Scale(name, 0) if *name == "app-primary");
    let taken_down = stage.replicas("app-primary") == 0 && schedule.script.iter().any(|(_, event)| is_to_zero(event));
    check(
        taken_down || (stage.ready("app-primary") == stage.replicas("app-primary") && stage.ready("app-primary") > 0),
        format!(
            "{} of {} pods of the primary are ready",
            stage.ready("app-primary"),
            stage.replicas("app-primary")
        ),
    );
    check(
        status["lastPromotedSpec"] == status["serin"]["promoted"],
        "lastPromotedSpec is not what was promoted".to_owned(),
    );
    check(taken_down || lost < 1.0, format!("{lost} requests were lost at rest"));
    let total = stage.answers().lost;
    // A target that is recreated under traffic, or before its traffic was taken over, is away for a while without us.
    let pushes = schedule
        .script
        .iter()
        .filter(|(_, event)| matches!(event, Event::Push(_)))
        .count();
    let ours = !schedule.recreate || (schedule.from_rest && pushes <= 1);
    // Without a route nobody stands in for a primary that is recreated; a warning says so.
    let ours = ours && !(schedule.recreate && schedule.provider == "kubernetes" && pushes > 0);
    let gentle = ours && !schedule.script.iter().any(|(_, event)| event.is_hostile());
    check(!gentle || total < 1.0, format!("{total} requests were lost"));
    wrong.extend(ending(stage, APP));
    if schedule.beside {
        wrong.extend(ending(stage, BESIDE));
        wrong.extend(crowded(schedule, stage));
    }
    wrong
}

/// What is wrong with how an application ended: its phase, and who has which revision.
fn ending(stage: &Stage, name: &str) -> Option<String> {
    let status = &stage.object("flagger.app/v1beta1", "Canary", name)["status"];
    let phase = status["phase"].as_str().unwrap_or_default();
    let (target, primary) = (stage.image(name), stage.image(&format!("{name}-primary")));
    let fits = match phase {
        "Initialized" | "Succeeded" => target == primary,
        "Failed" => target != primary,
        _ => false,
    };
    (!fits).then(|| format!("{name} is {phase}, its primary runs {primary} and its target {target}"))
}

/// What is wrong with the slot that both had.
fn crowded(schedule: &Schedule, stage: &Stage) -> Vec<String> {
    // A write of a process that is gone may arrive when its successor has given the slot away.
    let is_steady = |event: &Event| !matches!(event, Event::Kill(_) | Event::Restart(_) | Event::Faults(_));
    if !schedule.elected && schedule.script.iter().all(|(_, event)| is_steady(event)) {
        crowds(&stage.story.moments())
    } else {
        Vec::new()
    }
}

/// Stages without a slot: nothing moves, or a person is waited for. A takeover has one for a part of its stage only.
const WITHOUT: [&str; 7] = [
    "",
    "Resting",
    "Waiting",
    "WaitingPromotion",
    "HoldOnCanary",
    "Leaving",
    "Initializing",
];

/// Releases that began while another application had the slot. What a person lets go on asks for none.
fn crowds(moments: &[Moment]) -> Vec<String> {
    let mut stages: BTreeMap<&str, &str> = BTreeMap::new();
    let mut crowds = Vec::new();
    for Moment { at, of, stage, .. } in moments {
        let before = stages.insert(of, stage).unwrap_or_default();
        let begins = stage == "Raising" && ["Resting", "Waiting"].contains(&before);
        let others = stages
            .iter()
            .filter(|(name, stage)| *name != of && !WITHOUT.contains(stage));
        if begins {
            crowds.extend(others.map(|(name, stage)| format!("{of} begins at {at} while {name} is {stage}")));
        }
    }
    crowds
}
