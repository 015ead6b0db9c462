//! Makes true what is not: goes through the assertions in order and sends what each of them still needs.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::draw::{Act, Copied, Draw, Undrawable, revision_of};
use super::held::Held;
use super::look::Look;
use super::meta;
use super::obstacle::{Drawn, Place};
use super::projection;
use super::resource::Resource;
use super::scalers;
use super::site::{Rules, Site};
use super::write::{Mode, WriteError, Writer};
use crate::rollout::{Assertion, Block, Fingerprint, Known, Observation, Rehearsal, Side, Traffic, met};
use crate::workload::{self, store};

/// Draws the world.
pub struct Hands<'a> {
    /// Reads what the caches leave out.
    pub look: &'a Look,
    /// Writes.
    pub writer: &'a Writer,
    /// What the operator decided.
    pub rules: &'a Rules,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Applied {
    /// Something was written, or turned out to be different: look again at once.
    pub again: bool,
    /// What stopped it, to be tried again with growing waits.
    pub failure: Option<String>,
    /// Something may not be written before this time.
    pub not_before: Option<DateTime<Utc>>,
}

/// How one assertion went.
enum Went {
    /// All its requests were accepted.
    Written,
    /// Nothing could be sent now; something may be in a moment.
    Again,
    /// It must wait.
    Blocked {
        failure: Option<String>,
        not_before: Option<DateTime<Utc>>,
    },
}

impl Hands<'_> {
    /// Applies the assertions. After the first that fails, only a route that takes weight off the canary is still written.
    pub async fn apply(
        &self,
        site: &Site,
        block: &Block,
        observation: &Observation,
        assertions: &[Assertion],
        held: &mut Held,
    ) -> Applied {
        let mut applied = Applied::default();
        let mut blocked = false;
        for assertion in assertions {
            if blocked && !retreats(assertion, observation) {
                continue;
            }
            let place = Place::of(assertion);
            if met(assertion, block, observation, &held.memory) {
                applied.again |= held.obstacles.is_drawn(place, drawn(site, place, assertion));
                continue;
            }
            match self.one(site, block, assertion, held).await {
                Went::Written => {
                    applied.again = true;
                    // What comes next looks at the primary, which this pass has not seen.
                    blocked |= matches!(assertion, Assertion::PrimaryExists { .. });
                }
                Went::Again => {
                    applied.again = true;
                    blocked = true;
                }
                Went::Blocked { failure, not_before } => {
                    applied.failure = applied.failure.or(failure);
                    applied.not_before = applied.not_before.into_iter().chain(not_before).min();
                    blocked = true;
                }
            }
        }
        let places: Vec<Place> = assertions.iter().map(Place::of).collect();
        held.obstacles.settle(&places, self.look.clock.now());
        applied
    }

    async fn one(&self, site: &Site, block: &Block, assertion: &Assertion, held: &mut Held) -> Went {
        let (place, now) = (Place::of(assertion), self.look.clock.now());
        let standing = drawn(site, place, assertion);
        if let Some(manager) = held.obstacles.undoing(place, &standing) {
            let what = object_at(site, place);
            held.obstacles
                .undone(place, what, manager.to_owned(), standing.version, site.uid(), now);
        }
        if let Some(not_before) = held.obstacles.not_before(place, now) {
            return Went::Blocked {
                failure: None,
                not_before: Some(not_before),
            };
        }
        let template = match revision_of(assertion) {
            Some(revision) => self.stored_template(site, revision).await,
            None => None,
        };
        let draw = Draw {
            site,
            rules: self.rules,
            run: block.run,
        };
        if let Assertion::Rehearsed { .. } = assertion {
            return self.rehearse(&draw, assertion, template.as_ref(), held).await;
        }
        let mut acts = match self.copies(site, assertion, template.as_ref()).await {
            Ok(acts) => acts,
            Err(what) => return failed(format!("{what} is awaited")),
        };
        match draw.acts(assertion, template.as_ref()) {
            Ok(drawn) => acts.extend(drawn),
            Err(Undrawable::Unknown(what)) => return failed(format!("{what} is not known")),
            Err(Undrawable::Spec(words)) => return failed(words),
        }
        if acts.is_empty() {
            return failed(format!(
                "{assertion:?} is not met, and there is nothing to write for it"
            ));
        }
        for act in acts {
            match self.send(&act, Mode::Real).await {
                Ok(answer) => {
                    let answer = answer.map(|answer| Drawn {
                        version: stamp(&answer),
                        ..drawn(site, place, assertion)
                    });
                    held.obstacles.written(place, answer);
                }
                Err(WriteError::Gone(_)) if matches!(assertion, Assertion::Unfinalized { .. }) => {}
                Err(error) => return self.trouble(site, place, &act, error, held).await,
            }
        }
        Went::Written
    }

    /// Sends one request. The answer of a delete says nothing.
    pub async fn send(&self, act: &Act, mode: Mode) -> Result<Option<Arc<Value>>, WriteError> {
        match act {
            Act::Create(key, body) => self.writer.create(key, body, mode).await.map(Some),
            Act::Patch(key, operations) => self.writer.patch(key, operations.clone(), mode).await.map(Some),
            Act::Delete(key, live) => self.writer.delete(key, live).await.map(|()| None),
        }
    }

    async fn trouble(&self, site: &Site, place: Place, act: &Act, error: WriteError, held: &mut Held) -> Went {
        match error {
            WriteError::Conflict(_) | WriteError::Exists | WriteError::Gone(_) => {
                self.look.live(act.key()).await;
                Went::Again
            }
            WriteError::NamespaceTerminating(_) => {
                held.namespace_terminating = true;
                Went::Again
            }
            WriteError::Refused(words) => {
                let now = self.look.clock.now();
                tracing::warn!(canary = %site.key(), %words, "{} was refused", act.what());
                held.obstacles.refused(place, act.what(), words, site.uid(), now);
                // The core has to hear of it; the wait before the next attempt is the obstacle's.
                Went::Again
            }
            WriteError::Withheld => {
                say(site, act, held);
                Went::Blocked {
                    failure: None,
                    not_before: None,
                }
            }
            error @ (WriteError::Fenced | WriteError::Passing(_)) => failed(format!("{}: {error}", act.what())),
        }
    }

    /// The content of a stored revision. The caches do not keep it, so it is read live, unless the target still has the very same: that is
    /// what a fingerprint tells.
    async fn stored_template(&self, site: &Site, revision: &Fingerprint) -> Option<Value> {
        let target = site
            .target
            .present()
            .and_then(|target| target.pointer("/spec/template"));
        if let Some(template) = target.filter(|template| workload::fingerprint(template) == *revision) {
            return Some(template.clone());
        }
        // Stored for this target, or for one that the Canary named before.
        let stored = site.store.present().into_iter().flatten();
        let stored = stored.filter(|it| projection::intact(it).as_ref() == Some(revision));
        let name = stored.map(|it| meta::name(it).to_owned()).next();
        let name = name.unwrap_or_else(|| store::name(&site.subject.target, revision));
        let key = site.keys().revision(&name);
        let Known::Present(object) = self.look.whole(&key).await else {
            return None;
        };
        let stored = store::read(&object)?;
        (stored.intact && stored.fingerprint == *revision).then_some(stored.template)
    }

    /// Sends each kind of write of the run as a dry run (`design.md`, "Rivals and refusals").
    async fn rehearse(
        &self,
        draw: &Draw<'_>,
        assertion: &Assertion,
        template: Option<&Value>,
        held: &mut Held,
    ) -> Went {
        let Assertion::Rehearsed {
            run,
            trials,
            home,
            revision,
        } = assertion
        else {
            return failed("no rehearsal".into());
        };
        let (site, now) = (draw.site, self.look.clock.now());
        let route = site.route.present();
        if route.is_none() && site.subject.has_route() {
            return failed("the route is not known".into());
        }
        let outcome = async {
            if let Some(route) = route {
                self.rehearse_route(draw, route, trials, home).await?;
            }
            if let Some(act) = draw
                .primary_written(template, &Copied::new(revision, *run, 1))
                .map_err(Stop::Undrawable)?
            {
                self.dry(&act).await?;
            }
            for act in draw.acts(&Assertion::TargetDown, None).map_err(Stop::Undrawable)? {
                self.dry(&act).await?;
            }
            Ok(())
        };
        match outcome.await {
            Ok(()) => {
                held.obstacles.written(Place::Rehearsal, None);
                held.memory.rehearsal = Some((*run, Rehearsal::Accepted));
                Went::Written
            }
            Err(Stop::Undrawable(undrawable)) => failed(undrawable.to_string()),
            // Nobody was asked, and nothing will be written: what would follow is shown too.
            Err(Stop::Write(_, WriteError::Withheld)) => {
                held.memory.rehearsal = Some((*run, Rehearsal::Accepted));
                Went::Written
            }
            Err(Stop::Write(act, WriteError::Refused(words))) => {
                held.obstacles
                    .refused(Place::Rehearsal, act.what(), words.clone(), site.uid(), now);
                held.memory.rehearsal = Some((
                    *run,
                    Rehearsal::Refused {
                        what: act.what(),
                        words,
                    },
                ));
                Went::Again
            }
            Err(Stop::Write(act, error)) => self.trouble(site, Place::Rehearsal, &act, error, held).await,
        }
    }

    /// Each thing that the route is to do, from what it does now, and the way back above all: from the last of them, but for the
    /// version that is stored.
    async fn rehearse_route(
        &self,
        draw: &Draw<'_>,
        route: &Arc<Value>,
        trials: &[Traffic],
        home: &Traffic,
    ) -> Result<(), Stop> {
        let mut stepped = route.clone();
        for traffic in trials {
            if let Some(act) = draw.route_edit(route, traffic).map_err(Stop::Undrawable)? {
                stepped = self.dry(&act).await?.unwrap_or(stepped);
            }
        }
        let mut stepped = Value::clone(&stepped);
        stepped["metadata"]["resourceVersion"] = meta::version(route).into();
        if let Some(act) = draw.route_edit(&stepped, home).map_err(Stop::Undrawable)? {
            self.dry(&act).await?;
        }
        Ok(())
    }

    async fn dry(&self, act: &Act) -> Result<Option<Arc<Value>>, Stop> {
        self.send(act, Mode::Rehearsal)
            .await
            .map_err(|error| Stop::Write(act.clone(), error))
    }
}

/// What ended a rehearsal.
enum Stop {
    Undrawable(Undrawable),
    Write(Act, WriteError),
}

const fn failed(failure: String) -> Went {
    Went::Blocked {
        failure: Some(failure),
        not_before: None,
    }
}

/// Whether the assertion takes requests off the canary: allowed whatever else fails.
fn retreats(assertion: &Assertion, observation: &Observation) -> bool {
    let Assertion::Route(traffic) = assertion else {
        return false;
    };
    observation
        .route
        .is_present_and(|route| route.weight.is_some_and(|now| traffic.weight < now))
}

fn drawn(site: &Site, place: Place, assertion: &Assertion) -> Drawn {
    let generation = site.canary.metadata.generation;
    Drawn {
        assertion: assertion.clone(),
        generation,
        version: version_at(site, place),
    }
}

/// The object at this place.
fn object(site: &Site, place: Place) -> Option<&Arc<Value>> {
    match place {
        Place::Size(Side::Canary) => site.target.present(),
        Place::Size(Side::Primary) => site.primary.present(),
        Place::Scaler => scalers::copy(site),
        _ => held_at(site, place),
    }
}

/// The object that is held at this place.
fn held_at(site: &Site, place: Place) -> Option<&Arc<Value>> {
    match place {
        Place::Route => site.route.present(),
        Place::Apex => site.apex_service.present(),
        Place::Service(Side::Canary) => site.canary_service.present(),
        Place::Service(Side::Primary) => site.primary_service.present(),
        Place::Destination(side) => site.destination(side).present(),
        _ => None,
    }
}

/// The state of the object at this place; empty where there is none.
pub fn version_at(site: &Site, place: Place) -> String {
    object(site, place).map(|object| stamp(object)).unwrap_or_default()
}

/// What changes when somebody edits the object: its generation where it has one, so that a status does not count.
fn stamp(object: &Value) -> String {
    match object.pointer("/metadata/generation").and_then(Value::as_i64) {
        Some(generation) => format!("{}/{generation}", meta::uid(object)),
        None => format!("{}@{}", meta::uid(object), meta::version(object)),
    }
}

/// Kind and name of the object at this place, for people.
pub fn object_at(site: &Site, place: Place) -> String {
    let named = object(site, place).map(|it| format!("{} {}", it["kind"].as_str().unwrap_or_default(), meta::name(it)));
    named.unwrap_or_else(|| format!("{place:?} of {}", site.subject.apex))
}

/// Says what would be sent, once.
fn say(site: &Site, act: &Act, held: &mut Held) {
    let what = match act {
        // It has secret values.
        Act::Create(key, _) if key.resource == Resource::SECRET => act.what(),
        Act::Create(_, body) => format!("{} {body}", act.what()),
        Act::Patch(_, operations) => {
            let operations = serde_json::to_string(operations).unwrap_or_default();
            format!("{} {operations}", act.what())
        }
        Act::Delete(..) => act.what(),
    };
    super::say::would(&site.key(), &what, &mut held.said);
}
