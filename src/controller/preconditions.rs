//! What a pass makes sure of before it acts: its Canary is the latest, the objects are ours, nobody else is about to release it.

use chrono::{DateTime, TimeDelta, Utc};

use super::apply::Hands;
use super::draw;
use super::held::Held;
use super::leader;
use super::meta;
use super::pass::{Engine, Stop};
use super::site::Site;
use super::write::{Mode, WriteError};
use crate::api::Canary;
use crate::object::text;
use crate::rollout::Known;

/// How long a reading of the namespace of a Canary that is being deleted is good for.
const NAMESPACE: TimeDelta = TimeDelta::seconds(5);

impl Engine {
    /// Makes sure that the status which the world is drawn from is the latest. A pass that has just written it knows, and so does a
    /// leader that wrote it and leads still; any other might take a step of another process for a foreign edit, and undo it.
    pub(super) async fn is_of_now(&self, site: &Site, held: &Held) -> Result<(), Stop> {
        let ours = held.written.as_deref() == Some(meta::version(&site.raw));
        let leads = matches!(self.writer.claim.standing(), leader::Standing::Leading { .. });
        if self.writer.observe_only || (ours && leads) {
            return Ok(());
        }
        match self.look.live(&site.key().object()).await {
            Known::Present(live) if meta::version(&live) == meta::version(&site.raw) => Ok(()),
            Known::Present(_) | Known::Absent => Err(Stop::Stale),
            _ => Err(Stop::Failed("the Canary cannot be read".into())),
        }
    }

    /// Whether the Canary is being deleted and nobody else has released it for as long as a hand-back may take.
    pub(super) fn is_overdue(&self, canary: &Canary) -> bool {
        Self::overdue_at(canary).is_some_and(|at| self.look.clock.now() >= at)
    }

    /// When that will be so; `None` for a Canary that stays.
    pub(super) fn overdue_at(canary: &Canary) -> Option<DateTime<Utc>> {
        let deleted = canary.metadata.deletion_timestamp.as_ref()?;
        let patience = TimeDelta::from_std(canary.spec.progress_deadline()).ok()?;
        DateTime::from_timestamp(deleted.0.as_second(), 0)?.checked_add_signed(patience)
    }

    /// Finds out whether a Canary goes because its namespace does, every few seconds.
    pub(super) async fn read_namespace(&self, name: &str, held: &mut Held) {
        let now = self.look.clock.now();
        if held.namespace_terminating || held.namespace_read.is_some_and(|read| now - read < NAMESPACE) {
            return;
        }
        let namespace = self.look.namespace(name).await;
        held.namespace_terminating = namespace.is_present_and(|it| text(it, "/status/phase") == "Terminating");
        held.namespace_read = Some(now);
    }

    /// Makes objects of an earlier Canary of the same name ours. True when something was written.
    pub(super) async fn inherit(&self, site: &Site) -> Result<bool, Stop> {
        let mut acts = draw::inheritance(site);
        let hands = Hands {
            look: &self.look,
            writer: &self.writer,
            rules: &self.rules,
        };
        if !acts.is_empty() {
            let copies = hands.copies_inherited(site).await;
            let copies = copies.map_err(|what| Stop::Failed(format!("{what} cannot be read")))?;
            acts.splice(0..0, copies);
        }
        for act in &acts {
            match hands.send(act, Mode::Real).await {
                Ok(_) => {}
                Err(WriteError::Withheld) => return Ok(false),
                Err(WriteError::Conflict(_) | WriteError::Gone(_) | WriteError::Exists) => {
                    self.look.live(act.key()).await;
                    return Err(Stop::Stale);
                }
                Err(error) => return Err(Stop::Failed(format!("{}: {error}", act.what()))),
            }
        }
        Ok(!acts.is_empty())
    }
}
