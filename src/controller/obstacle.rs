//! What stands in the way of drawing: writes that the API server refuses, and rivals that undo ours.
//!
//! A field that reads back different from what we saw drawn, in an object that changed since while the Canary did not,
//! was changed by somebody else. It is repaired at once, and later and later while the rival goes on
//! (`design.md`, "Rivals and refusals").

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::retry::Retry;
use crate::rollout::{Assertion, Obstacle, Side};

/// How long after its last deed a rival is remembered, at least.
const GRUDGE: TimeDelta = TimeDelta::seconds(10);

/// What kind of thing an assertion is about. There is at most one of each in a pass, but for stored revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// The finalizer, there or gone.
    Finalizer,
    /// The store of revisions.
    Store,
    /// The primary workload.
    Primary,
    /// A side's number of replicas.
    Size(Side),
    /// The primary's copy of the scaler.
    Scaler,
    /// One of the two side Services.
    Service(Side),
    /// What the provider draws beside a side's Service.
    Destination(Side),
    /// The route.
    Route,
    /// The apex Service.
    Apex,
    /// The dry runs.
    Rehearsal,
    /// Owner references that are taken off.
    Release,
    /// What is no longer needed.
    Leftovers,
}

impl Place {
    /// Where an assertion belongs.
    pub const fn of(assertion: &Assertion) -> Self {
        match assertion {
            Assertion::Finalizer | Assertion::Unfinalized { .. } => Self::Finalizer,
            Assertion::Stored(_) | Assertion::Pruned(_) => Self::Store,
            Assertion::PrimaryExists { .. }
            | Assertion::PrimaryTemplate { .. }
            | Assertion::PrimaryNamed(_)
            | Assertion::PrimaryRestarted { .. } => Self::Primary,
            Assertion::Floor { side, .. } => Self::Size(*side),
            Assertion::PrimaryScaler { .. } => Self::Scaler,
            Assertion::TargetDown => Self::Size(Side::Canary),
            Assertion::SideService(side) => Self::Service(*side),
            Assertion::SideDestination(side) => Self::Destination(*side),
            Assertion::Route(_)
            | Assertion::RouteAnnounced(_)
            | Assertion::RouteLeads(_)
            | Assertion::RouteHandedBack { .. } => Self::Route,
            Assertion::Apex(_) => Self::Apex,
            Assertion::Rehearsed { .. } => Self::Rehearsal,
            Assertion::Released { .. } => Self::Release,
            Assertion::Discarded(_) => Self::Leftovers,
        }
    }

    /// Whether what is drawn here is held against everybody (`design.md`, "Assertions, not objects").
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Service(_) | Self::Destination(_) | Self::Route | Self::Apex)
    }
}

/// Everything that stands in one canary's way.
#[derive(Debug, Default)]
pub struct Obstacles {
    drawn: BTreeMap<Place, Drawn>,
    refused: BTreeMap<Place, Refused>,
    contests: BTreeMap<Place, Contest>,
    /// What our last writes were answered with.
    answered: BTreeMap<Place, Drawn>,
}

/// A held thing as we last saw it as we want it.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// What was asserted.
    pub assertion: Assertion,
    /// The Canary's generation, from which it was rendered.
    pub generation: Option<i64>,
    /// The object's resourceVersion.
    pub version: String,
}

#[derive(Debug)]
struct Refused {
    what: String,
    words: String,
    retry: Retry,
    next: DateTime<Utc>,
}

#[derive(Debug)]
struct Contest {
    what: String,
    manager: String,
    retry: Retry,
    /// The version of the object that the rival made: each deed counts once.
    version: String,
    next: DateTime<Utc>,
    /// When it is forgotten, unless the rival comes back.
    over: DateTime<Utc>,
    standing: bool,
    /// Whether we have drawn it since the rival's last deed that counted. What he does while we wait makes us wait no longer.
    repaired: bool,
}

impl Obstacles {
    /// Held things as last seen drawn.
    pub fn drawn(&self) -> impl Iterator<Item = (Place, &Drawn)> {
        self.drawn.iter().map(|(place, drawn)| (*place, drawn))
    }

    /// It is seen, or was answered to a write of ours, to be as asserted. Whether a contest or a refusal stood here until now, which
    /// the core has been told of and has to be told is over.
    #[must_use]
    pub fn is_drawn(&mut self, place: Place, drawn: Drawn) -> bool {
        let mut stood = self.refused.remove(&place).is_some();
        if let Some(contest) = self.contests.get_mut(&place) {
            stood |= contest.standing;
            contest.standing = false;
            contest.repaired = true;
        }
        if place.is_held() {
            self.drawn.insert(place, drawn);
        }
        stood
    }

    /// A write here succeeded; the answer is what should now be drawn. Whether it is shows at the next look.
    pub fn written(&mut self, place: Place, answer: Option<Drawn>) {
        self.refused.remove(&place);
        self.drawn.remove(&place);
        if let Some(contest) = self.contests.get_mut(&place) {
            contest.repaired = true;
        }
        if let Some(answer) = answer {
            self.answered.insert(place, answer);
        }
    }

    /// Who undid our last write here, which was to draw the same as `now` is to be. Each write is reckoned with once.
    pub fn undoing(&mut self, place: Place, now: &Drawn) -> Option<&'static str> {
        let answer = self.answered.get(&place)?;
        // What is held, and was changed by others later, is found by `contest`, which knows their name.
        let by_the_answer = place.is_held() && answer == now;
        let by_a_scaler = matches!(place, Place::Size(_) | Place::Scaler) && answer.assertion == now.assertion;
        let manager = if by_the_answer {
            "the API server or an admission webhook"
        } else if by_a_scaler {
            "a scaler or a person"
        } else {
            return None;
        };
        self.answered.remove(&place);
        Some(manager)
    }

    /// Whether this deed of a rival is known already.
    pub fn knows(&self, place: Place, version: &str) -> bool {
        self.contests
            .get(&place)
            .is_some_and(|contest| contest.version == version)
    }

    /// A rival changed what we hold: the object, the field manager, the version it made.
    pub fn undone(
        &mut self,
        place: Place,
        what: String,
        manager: String,
        version: String,
        uid: &str,
        now: DateTime<Utc>,
    ) {
        let contest = self.contests.entry(place).or_insert_with(|| Contest {
            what: what.clone(),
            manager: manager.clone(),
            retry: match place {
                Place::Size(_) | Place::Scaler => Retry::of_size(uid),
                _ => Retry::of_obstacle(uid),
            },
            version: String::new(),
            next: now,
            over: now,
            standing: true,
            repaired: true,
        });
        if !contest.repaired {
            (contest.what, contest.manager, contest.version) = (what, manager, version);
            return;
        }
        // The first repair is made at once.
        let wait = if contest.version.is_empty() {
            TimeDelta::zero()
        } else {
            TimeDelta::from_std(contest.retry.wait()).unwrap_or(GRUDGE)
        };
        (contest.what, contest.manager, contest.version) = (what, manager, version);
        (contest.next, contest.over, contest.standing) = (now + wait, now + wait * 3 + GRUDGE, true);
        contest.repaired = false;
    }

    /// The API server does not accept a write: verb and object, and its words.
    pub fn refused(&mut self, place: Place, what: String, words: String, uid: &str, now: DateTime<Utc>) {
        let refused = self.refused.entry(place).or_insert_with(|| Refused {
            what: String::new(),
            words: String::new(),
            retry: Retry::of_obstacle(uid),
            next: now,
        });
        (refused.what, refused.words) = (what, words);
        refused.next = now + TimeDelta::from_std(refused.retry.wait()).unwrap_or(GRUDGE);
    }

    /// When a write here may be sent: `None` now, else not before.
    pub fn not_before(&self, place: Place, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let contest = self
            .contests
            .get(&place)
            .filter(|contest| contest.standing)
            .map(|contest| contest.next);
        let refused = self.refused.get(&place).map(|refused| refused.next);
        contest.into_iter().chain(refused).max().filter(|next| *next > now)
    }

    /// Forgets rivals that have kept quiet, and refusals of what is not asserted any more.
    pub fn settle(&mut self, asserted: &[Place], now: DateTime<Utc>) {
        self.contests
            .retain(|_, contest| contest.standing || contest.over > now);
        self.refused.retain(|place, _| asserted.contains(place));
        self.drawn.retain(|place, _| asserted.contains(place));
        self.contests.retain(|place, _| asserted.contains(place));
    }

    /// What the core is told. A refused rehearsal is told through the memory instead; a size that others change is seen as it is.
    pub fn current(&self) -> Option<Obstacle> {
        let contest = self
            .contests
            .iter()
            .find(|(place, contest)| place.is_held() && contest.standing);
        if let Some((_, contest)) = contest {
            return Some(Obstacle::Contested {
                what: contest.what.clone(),
                manager: contest.manager.clone(),
            });
        }
        let refused = self.refused.iter().find(|(place, _)| **place != Place::Rehearsal);
        refused.map(|(_, refused)| Obstacle::Refused {
            what: refused.what.clone(),
            words: refused.words.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::Traffic;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn undo(obstacles: &mut Obstacles, version: &str, now: DateTime<Utc>) {
        let (what, manager) = ("HTTPRoute podinfo".to_owned(), "kubectl".to_owned());
        obstacles.undone(Place::Route, what, manager, version.to_owned(), "uid", now);
    }

    fn redraw(obstacles: &mut Obstacles, version: &str) -> bool {
        let assertion = Assertion::Route(Traffic::default());
        let drawn = Drawn {
            assertion,
            generation: Some(1),
            version: version.to_owned(),
        };
        obstacles.is_drawn(Place::Route, drawn)
    }

    #[test]
    fn the_first_repair_is_made_at_once_and_the_next_ones_later_and_later() {
        let mut obstacles = Obstacles::default();
        undo(&mut obstacles, "2", at(0));
        assert_eq!(obstacles.not_before(Place::Route, at(0)), None);
        assert!(matches!(obstacles.current(), Some(Obstacle::Contested { manager, .. }) if manager == "kubectl"));
        assert!(redraw(&mut obstacles, "3"), "the core has to hear that it is over");
        assert!(!redraw(&mut obstacles, "3"), "once");
        assert_eq!(obstacles.current(), None);
        undo(&mut obstacles, "4", at(1));
        let second = obstacles.not_before(Place::Route, at(1)).unwrap() - at(1);
        assert!(redraw(&mut obstacles, "5"));
        undo(&mut obstacles, "6", at(2));
        let third = obstacles.not_before(Place::Route, at(2)).unwrap() - at(2);
        assert!(
            second >= TimeDelta::seconds(1) && third >= TimeDelta::seconds(2),
            "{second} {third}"
        );
    }

    #[test]
    fn what_a_rival_does_while_his_last_deed_stands_makes_the_repair_no_later() {
        let mut obstacles = Obstacles::default();
        undo(&mut obstacles, "2", at(0));
        assert!(redraw(&mut obstacles, "3"));
        undo(&mut obstacles, "4", at(1));
        let repair = obstacles.not_before(Place::Route, at(1));
        for second in 2..30 {
            undo(&mut obstacles, &format!("more-{second}"), at(second));
        }
        assert!(repair.is_some());
        assert_eq!(obstacles.not_before(Place::Route, at(1)), repair);
    }

    #[test]
    fn a_size_that_a_scaler_changes_back_is_repaired_at_once_and_then_with_growing_waits() {
        let mut obstacles = Obstacles::default();
        let place = Place::Size(Side::Canary);
        let down = |version: &str| Drawn {
            assertion: Assertion::TargetDown,
            generation: Some(1),
            version: version.to_owned(),
        };
        let mut waits = Vec::new();
        for deed in 0..4 {
            obstacles.written(place, Some(down(&format!("answer-{deed}"))));
            let now = down(&format!("scaled-{deed}"));
            let manager = obstacles.undoing(place, &now).unwrap();
            assert_eq!(obstacles.undoing(place, &now), None, "one write is reckoned with once");
            let what = "Deployment podinfo".to_owned();
            obstacles.undone(place, what, manager.to_owned(), now.version, "uid", at(deed));
            waits.push(
                obstacles
                    .not_before(place, at(deed))
                    .map_or(TimeDelta::zero(), |next| next - at(deed)),
            );
        }
        assert_eq!(waits[0], TimeDelta::zero());
        assert!(waits.is_sorted() && waits[3] >= TimeDelta::seconds(3), "{waits:?}");
        assert_eq!(obstacles.current(), None, "the traffic does not wait for it");
    }

    #[test]
    fn an_answer_that_differs_from_the_write_is_not_written_again_at_once() {
        let mut obstacles = Obstacles::default();
        let standing = Drawn {
            assertion: Assertion::Route(Traffic::default()),
            generation: Some(1),
            version: "1".to_owned(),
        };
        for deed in 0..3 {
            obstacles.written(Place::Route, Some(standing.clone()));
            let manager = obstacles.undoing(Place::Route, &standing).unwrap();
            let what = "HTTPRoute podinfo".to_owned();
            obstacles.undone(Place::Route, what, manager.to_owned(), "1".to_owned(), "uid", at(deed));
        }
        let next = obstacles.not_before(Place::Route, at(2)).unwrap();
        assert_eq!(obstacles.undoing(Place::Route, &standing), None);
        assert_eq!(
            obstacles.not_before(Place::Route, next),
            None,
            "in the end it is tried again"
        );
    }

    #[test]
    fn a_rival_that_keeps_quiet_is_forgotten() {
        let mut obstacles = Obstacles::default();
        undo(&mut obstacles, "2", at(0));
        assert!(redraw(&mut obstacles, "3"));
        obstacles.settle(&[Place::Route], at(60));
        undo(&mut obstacles, "4", at(61));
        assert_eq!(obstacles.not_before(Place::Route, at(61)), None);
    }

    #[test]
    fn a_refusal_stands_until_a_write_succeeds_or_nobody_asks_for_it() {
        let mut obstacles = Obstacles::default();
        obstacles.refused(
            Place::Apex,
            "patch Service podinfo".into(),
            "denied by policy".into(),
            "uid",
            at(0),
        );
        assert!(matches!(obstacles.current(), Some(Obstacle::Refused { words, .. }) if words == "denied by policy"));
        assert!(obstacles.not_before(Place::Apex, at(0)).is_some());
        obstacles.settle(&[Place::Route], at(0));
        assert_eq!(obstacles.current(), None);
    }
}
