//! Reads the moment off the embedded cluster: the objects as they are stored, and the model of the clients.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::board::{Board, EventBoard, Limit, MetricBoard, Past, PodBoard, SideBoard};
use super::stage::{APP, NAMESPACE, Stage};
use crate::{
    metrics::Reading,
    rollout::{Block, Stage as At},
    sim::world::traffic::Split,
};

/// How far the columns of the history lie apart.
const COLUMN: TimeDelta = TimeDelta::seconds(8);

/// Looks at a cluster again and again, and remembers what is drawn as history.
#[derive(Debug, Default)]
pub(super) struct Onlooker {
    history: Vec<Past>,
    drawn_until: Option<DateTime<Utc>>,
}

impl Onlooker {
    /// The picture of this moment.
    pub(super) fn look(&mut self, stage: &Stage) -> Board {
        let now = stage.clock.now();
        let canary = stage
            .api
            .object("flagger.app/v1beta1", "Canary", NAMESPACE, APP)
            .unwrap_or_default();
        let status = &canary["status"];
        let block: Option<Block> = serde_json::from_value(status["serin"].clone()).ok();
        let entry = (NAMESPACE.to_owned(), APP.to_owned());
        let split = stage.world.traffic().split(&entry).unwrap_or_default();
        let totals = stage.world.traffic().totals(&entry, now);
        let plan = block
            .as_ref()
            .filter(|block| runs(block))
            .and_then(|block| block.plan.as_ref());
        let weight = block.as_ref().map_or(0, |block| block.weight.percent());
        let failed_checks = block.as_ref().map_or(0, |block| block.failed_checks);
        self.remember(now, weight, failed_checks > 0);
        Board {
            now,
            speed: stage.speed,
            phase: status["phase"].as_str().unwrap_or_default().to_owned(),
            weight,
            steps: plan
                .map(|plan| plan.steps.iter().map(|step| step.percent()).collect())
                .unwrap_or_default(),
            promoting: block.as_ref().is_some_and(|block| is_promoting(block.stage)),
            failed_checks,
            threshold: number(&canary["spec"]["analysis"]["threshold"]),
            primary: side(stage, &format!("{APP}-primary"), &split),
            canary: side(stage, APP, &split),
            metrics: metrics(stage, &canary),
            outcome: block
                .as_ref()
                .and_then(|block| block.outcome.as_ref())
                .map(|outcome| outcome.message.clone())
                .unwrap_or_default(),
            why: block.map(|block| block.why),
            events: events(stage),
            history: self.history.clone(),
            answered: totals
                .answered
                .iter()
                .map(|(image, measured)| (version(image), measured.requests))
                .collect(),
            lost: totals.lost,
            ..Board::default()
        }
    }

    fn remember(&mut self, now: DateTime<Utc>, weight: u8, failing: bool) {
        let mut until = self.drawn_until.unwrap_or(now - COLUMN);
        while until + COLUMN <= now {
            until += COLUMN;
            self.history.push(Past { weight, failing });
        }
        self.drawn_until = Some(until);
    }
}

/// Whether a run is under way, so that its plan says something.
fn runs(block: &Block) -> bool {
    !matches!(block.stage, At::Initializing | At::Resting | At::Leaving)
}

const fn is_promoting(stage: At) -> bool {
    matches!(stage, At::Shielding | At::Promoting | At::Returning | At::Finalising)
}

fn number(value: &Value) -> u32 {
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(0)
}

/// The tag of an image.
pub(super) fn version(image: &str) -> String {
    image.rsplit(':').next().unwrap_or(image).to_owned()
}

fn side(stage: &Stage, deployment: &str, split: &Split) -> SideBoard {
    let object = stage
        .api
        .object("apps/v1", "Deployment", NAMESPACE, deployment)
        .unwrap_or_default();
    let image = object["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default();
    let mut pods: Vec<Value> = stage.api.objects("v1", "Pod", NAMESPACE);
    pods.retain(|pod| is_of(pod["metadata"]["name"].as_str().unwrap_or_default(), deployment));
    pods.sort_by_key(|pod| pod["metadata"]["creationTimestamp"].to_string());
    let answered = split.shares.iter().filter(|share| is_of(&share.pod.pod, deployment));
    SideBoard {
        version: version(image),
        part: answered.fold(0.0, |sum, share| sum + share.part),
        pods: pods.iter().map(pod).collect(),
    }
}

/// Whether a pod's name is one of this Deployment's: its name, the template's hash, and a suffix.
fn is_of(pod: &str, deployment: &str) -> bool {
    let rest = pod.strip_prefix(deployment).and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| rest.split('-').count() == 2)
}

fn pod(pod: &Value) -> PodBoard {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions
        .filter(|condition| condition["type"] == "Ready")
        .any(|condition| condition["status"] == "True");
    match (pod["metadata"]["deletionTimestamp"].is_string(), ready) {
        (true, _) => PodBoard::Leaving,
        (false, true) => PodBoard::Ready,
        (false, false) => PodBoard::Starting,
    }
}

/// The metrics of the analysis with what the last check read.
fn metrics(stage: &Stage, canary: &Value) -> Vec<MetricBoard> {
    let listed = canary["spec"]["analysis"]["metrics"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let asked = stage.reader.asked();
    let last = |duration: bool| {
        let last = asked
            .iter()
            .rev()
            .find(|asked| asked.query.contains("histogram_quantile") == duration)?;
        match last.reading {
            Reading::Value(value) => Some(value),
            _ => None,
        }
    };
    let board = |metric: &Value| {
        let range = &metric["thresholdRange"];
        let limit = match (range["min"].as_f64(), range["max"].as_f64()) {
            (Some(least), _) => Limit::AtLeast(least),
            (None, most) => Limit::AtMost(most.unwrap_or(f64::INFINITY)),
        };
        let duration = metric["name"] == "request-duration";
        MetricBoard {
            name: metric["name"].as_str().unwrap_or_default().to_owned(),
            value: last(duration),
            unit: if duration { "ms" } else { "%" },
            limit,
        }
    };
    listed.iter().map(board).collect()
}

/// The canary's events, oldest first.
fn events(stage: &Stage) -> Vec<EventBoard> {
    let time = |event: &Value| {
        let times = [
            &event["eventTime"],
            &event["firstTimestamp"],
            &event["metadata"]["creationTimestamp"],
        ];
        times
            .into_iter()
            .find_map(|time| time.as_str()?.parse::<DateTime<Utc>>().ok())
            .unwrap_or_default()
    };
    let of_canary = |event: &Value| event["involvedObject"]["kind"] == "Canary";
    let mut events: Vec<_> = stage
        .api
        .objects("v1", "Event", NAMESPACE)
        .iter()
        .filter(|event| of_canary(event))
        .map(|event| {
            let order = event["metadata"]["resourceVersion"]
                .as_str()
                .and_then(|text| text.parse::<u64>().ok());
            let board = EventBoard {
                at: time(event),
                text: event["message"].as_str().unwrap_or_default().to_owned(),
                warning: event["type"] == "Warning",
            };
            (order, board)
        })
        .collect();
    events.sort_by_key(|(order, _)| *order);
    events.into_iter().map(|(_, event)| event).collect()
}
