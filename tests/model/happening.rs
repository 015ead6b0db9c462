//! What may happen next in a state, and what comes of it.

use serin::rollout::{Answer, Assertion, Judged, SampleRecord, Says, Side, Stage, Verdict, Weight};

use crate::cluster::{Selected, Workers};
use crate::pass::{Cut, land, moment};
use crate::place::{LateWrite, Place};
use crate::spec::Spec;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Happening {
    /// The controller makes a pass, as far as the cut.
    Pass(Cut),
    /// Time goes on to the moment that the controller asked to be woken at.
    Time,
    /// The Deployment controller and the kubelets of a side make a step.
    Kubelets(Side),
    /// The question that is out is answered.
    Answer(Word),
    /// The team pushes this template.
    Push(u8),
    /// All pods of a side lose their readiness.
    Fall(Side),
    /// Somebody else writes this weight into the route.
    EditRoute(Weight),
    /// Somebody else changes the apex's selector.
    EditApex,
    /// The watches of objects stand still.
    ObjectsLag,
    /// The watches of endpoints stand still.
    EndpointsLag,
    /// All watches bring what they held back.
    CatchUp,
    /// The API server refuses writes of the route.
    RefuseRoutes,
    /// It accepts them again.
    AcceptRoutes,
    /// The team suspends the Canary.
    Suspend,
    /// It goes on.
    Resume,
    /// The team deletes the Canary.
    Delete,
    /// The write of the frozen process arrives.
    LateArrives,
    /// It is lost.
    LateIsLost,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// A metric.
    Metric(Verdictum),
    /// A hook that says yes.
    Open,
    /// A hook that says no.
    Closed,
}

/// [`Verdict`], hashable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdictum {
    /// Within its limits.
    Pass,
    /// Outside.
    Fail,
    /// No number.
    NoData,
    /// No server.
    Unreachable,
}

/// The templates that the team has.
const TEMPLATES: [u8; 3] = [1, 2, 3];
/// Parts of a pass's writes that are looked at: no pass writes more.
const MOST_WRITES: u8 = 6;
/// A promotion that has been tried again as often as this is like one that was more often.
const MOST_ATTEMPTS: u32 = 2;
/// [`MOST_WRITES`] on the way in and out.
const MOST_WRITES_ASIDE: u8 = 9;

/// Everything that may happen in this state.
pub fn possible(place: &Place, all: &mut Vec<Happening>) {
    if place.broken.is_some() || place.gone {
        return;
    }
    let left = &place.left;
    if place.process.due {
        all.push(Happening::Pass(Cut::Whole));
        if left.deaths > 0 && place.late.is_none() {
            let aside = place.wish.deleting || place.status.stage == Stage::Initializing;
            let most = if aside { MOST_WRITES_ASIDE } else { MOST_WRITES };
            all.extend((0..=most).map(|n| Happening::Pass(Cut::Before(n))));
        }
    } else if place.process.wake.is_some() && !tried_enough(place) {
        all.push(Happening::Time);
    }
    all.extend([Side::Primary, Side::Canary].map(Happening::Kubelets));
    if let Some(pending) = &place.process.pending {
        let metric = pending.metric_of.is_some();
        all.push(Happening::Answer(if metric {
            Word::Metric(Verdictum::Pass)
        } else {
            Word::Open
        }));
        if metric && left.bad > 0 {
            let bad = [Verdictum::Fail, Verdictum::NoData, Verdictum::Unreachable];
            all.extend(bad.map(|verdict| Happening::Answer(Word::Metric(verdict))));
        }
        if !metric && left.closed > 0 {
            all.push(Happening::Answer(Word::Closed));
        }
    }
    if place.late.is_some() {
        all.extend([Happening::LateArrives, Happening::LateIsLost]);
    }
    if left.pushes > 0 {
        all.extend(TEMPLATES.map(Happening::Push));
    }
    if left.falls > 0 {
        all.extend([Side::Primary, Side::Canary].map(Happening::Fall));
    }
    if left.edits > 0 {
        all.extend([Weight::ZERO, Weight::FULL].map(Happening::EditRoute));
        all.push(Happening::EditApex);
    }
    if place.wish.suspended {
        all.push(Happening::Resume);
    } else if left.suspensions > 0 {
        all.push(Happening::Suspend);
    }
    if left.deletions > 0 {
        all.push(Happening::Delete);
    }
    if place.refuses {
        all.push(Happening::AcceptRoutes);
    } else if left.refusals > 0 {
        all.push(Happening::RefuseRoutes);
    }
    if place.lags || place.endpoints_lag {
        all.push(Happening::CatchUp);
    } else if left.lags > 0 {
        all.extend([Happening::ObjectsLag, Happening::EndpointsLag]);
    }
}

/// What the cluster does when nobody disturbs it any more: the first of these that changes something.
pub fn calm(place: &Place) -> Vec<Happening> {
    let process = &place.process;
    if place.gone {
        // The cluster's own controllers go on; nobody else does.
        vec![Happening::Kubelets(Side::Canary)]
    } else if place.late.is_some() {
        vec![Happening::LateArrives]
    } else if place.lags || place.endpoints_lag {
        vec![Happening::CatchUp]
    } else if place.wish.suspended {
        vec![Happening::Resume]
    } else if place.refuses {
        vec![Happening::AcceptRoutes]
    } else if process.due {
        vec![Happening::Pass(Cut::Whole)]
    } else {
        let metric = process.pending.as_ref().map(|pending| pending.metric_of.is_some());
        let answer = metric.map(|metric| {
            if metric {
                Word::Metric(Verdictum::Pass)
            } else {
                Word::Open
            }
        });
        let mut next = vec![Happening::Kubelets(Side::Primary), Happening::Kubelets(Side::Canary)];
        next.extend(answer.map(Happening::Answer));
        next.extend(process.wake.map(|_| Happening::Time));
        next
    }
}

fn tried_enough(place: &Place) -> bool {
    place.status.stage == Stage::HoldOnCanary && place.status.attempts >= MOST_ATTEMPTS
}

/// The state after everything but a pass; `None` where it changes nothing.
pub fn happen(place: &Place, happening: Happening, spec: &Spec, fenced: bool) -> Option<Place> {
    let mut next = place.clone();
    match happening {
        Happening::Pass(_) => return None,
        Happening::Time => {
            next.now = next.process.wake.take()?;
            next.process.due = true;
        }
        Happening::Kubelets(side) => {
            if !workers(&mut next, side).step(spec.recreate) {
                return None;
            }
        }
        Happening::Answer(word) => answer(&mut next, word),
        Happening::Push(template) => {
            if next.truth.target.template == template {
                return None;
            }
            next.left.pushes -= 1;
            next.truth.target.roll(template, None);
        }
        Happening::Fall(side) => {
            let workers = workers(&mut next, side);
            if workers.serving() == 0 {
                return None;
            }
            (workers.ready, workers.old) = (0, 0);
            next.left.falls -= 1;
        }
        Happening::EditRoute(weight) => {
            if next.truth.route.weight == weight || next.truth.route.to_apex {
                return None;
            }
            next.left.edits -= 1;
            next.truth.route.weight = weight;
            next.truth.route_version += 1;
        }
        Happening::EditApex => {
            next.left.edits -= 1;
            next.truth.apex = Selected::Other;
            next.truth.apex_version += 1;
        }
        Happening::ObjectsLag => (next.lags, next.left.lags) = (true, next.left.lags - 1),
        Happening::EndpointsLag => (next.endpoints_lag, next.left.lags) = (true, next.left.lags - 1),
        Happening::CatchUp => (next.lags, next.endpoints_lag) = (false, false),
        Happening::RefuseRoutes => (next.refuses, next.left.refusals) = (true, next.left.refusals - 1),
        Happening::AcceptRoutes => {
            next.refuses = false;
            next.process.due = true;
        }
        Happening::Suspend => {
            next.left.suspensions -= 1;
            next.edit_canary(|wish| wish.suspended = true);
        }
        Happening::Resume => next.edit_canary(|wish| wish.suspended = false),
        Happening::Delete => {
            next.left.deletions -= 1;
            next.edit_canary(|wish| wish.deleting = true);
        }
        Happening::LateArrives => arrive(&mut next, spec, fenced),
        Happening::LateIsLost => next.late = None,
    }
    next.flow();
    Some(next)
}

const fn workers(place: &mut Place, side: Side) -> &mut Workers {
    match side {
        Side::Primary => &mut place.truth.primary,
        Side::Canary => &mut place.truth.target,
    }
}

fn arrive(place: &mut Place, spec: &Spec, fenced: bool) {
    let Some(late) = place.late.take() else { return };
    match late.what {
        LateWrite::Status(block) if late.fits || !fenced => {
            if !late.fits {
                let observation = place.observe(spec);
                let held = moment(place).status(Some(&place.status), &block, &observation);
                place.broken = held.err().map(|broken| format!("a late writer wins: {broken}"));
            }
            // The watch tells the successor.
            place.write_status(block.as_ref().clone());
            place.status_is_seen = false;
        }
        LateWrite::Status(..) => {}
        // It names the version of the Canary that it was computed from.
        LateWrite::Deed(deed) if is_of_canary(&deed) && !late.fits => {}
        LateWrite::Deed(deed) => {
            // A conflict is what the precondition is for.
            let _ = land(place, &deed, late.from);
        }
    }
}

const fn is_of_canary(deed: &Assertion) -> bool {
    matches!(deed, Assertion::Finalizer | Assertion::Unfinalized { .. })
}

fn answer(place: &mut Place, word: Word) {
    let Some(pending) = place.process.pending.take() else {
        return;
    };
    let says = match word {
        Word::Open => Says::Passed,
        Word::Closed => {
            place.left.closed -= 1;
            Says::Refused("no".into())
        }
        Word::Metric(verdict) => {
            if verdict == Verdictum::Pass {
                let last = place.status.plan.as_ref().and_then(|plan| plan.steps.last().copied());
                let at_the_end = last.is_some_and(|last| pending.round.weight >= last);
                place.judged.extend(pending.metric_of.filter(|_| at_the_end));
            } else {
                place.left.bad -= 1;
            }
            Says::Metric(judged(verdict))
        }
    };
    let answer = Answer { at: place.now, says };
    place.process.answers.given.insert(pending.key, answer);
    place.process.due = true;
}

fn judged(verdict: Verdictum) -> Judged {
    let verdict = match verdict {
        Verdictum::Pass => Verdict::Pass,
        Verdictum::Fail => Verdict::Fail,
        Verdictum::NoData => Verdict::Hold,
        Verdictum::Unreachable => Verdict::Unreachable,
    };
    Judged {
        verdict,
        text: format!("{verdict:?}"),
        record: SampleRecord {
            metric: "rate".into(),
            value: "1".into(),
            limit: ">= 99".into(),
            passed: verdict == Verdict::Pass,
        },
        value: Some(1.0),
    }
}
