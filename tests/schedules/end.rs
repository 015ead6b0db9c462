//! What must be true when everything has come to rest.

use super::draw::{Event, Schedule};
use crate::embedded::stage::Stage;

/// What is wrong at rest, where `lost` requests got no answer in the last minute.
pub fn wrong(schedule: &Schedule, stage: &Stage, lost: f64) -> Vec<String> {
    let status = stage.status();
    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            wrong.push(what);
        }
    };
    let phase = stage.phase();
    let scaled = schedule
        .script
        .iter()
        .any(|(_, event)| matches!(event, Event::Scale(..)));
    let (target, primary) = (stage.image("app"), stage.image("app-primary"));
    check(
        ["Initialized", "Succeeded", "Failed"].contains(&phase.as_str()),
        format!("the resting phase is {phase}"),
    );
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
        phase == "Failed" || target == primary,
        format!("{phase}, and the primary runs {primary}, not {target}"),
    );
    check(
        phase != "Failed" || target != primary,
        format!("Failed, and the primary runs {target} all the same"),
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
    let gentle = ours && !schedule.script.iter().any(|(_, event)| event.is_hostile());
    check(!gentle || total < 1.0, format!("{total} requests were lost"));
    wrong
}
