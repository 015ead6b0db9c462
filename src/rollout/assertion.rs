//! What `render` says about the world: statements, in order. The controller makes true what is not.

use super::observation::Selects;
use super::scaler::Follow;
use super::state::Fingerprint;
use super::traffic::Traffic;
use super::weight::Side;

/// Services that are to get the traffic of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// `<apex>-primary` and `<apex>-canary`: on the way in.
    Sides,
    /// The apex Service: on the way out.
    Apex,
}

/// Something that Serin made and needs no more, because its Canary names something else now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftover {
    /// `<apex>-primary` or `<apex>-canary`.
    Service(Side),
    /// `<target>-primary`.
    Primary,
    /// `<scaler>-primary`.
    Scaler,
    /// The primary by the names of [`super::Block::former`]. The Deployment that it was made of gets its size.
    FormerPrimary,
}

/// One statement about the world. `apply` sends a write only where the observation does not already show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assertion {
    /// The Canary carries our finalizer.
    Finalizer,
    /// The store holds the target's template with this fingerprint, exactly as observed.
    Stored(Fingerprint),
    /// The primary exists; where it does not, it is made from this stored revision with that many replicas.
    PrimaryExists {
        /// The stored revision.
        revision: Fingerprint,
        /// Replicas for a new one.
        replicas: u32,
    },
    /// The primary's template is the copy of this stored revision. `salt` makes a promotion restart pods even when the template is equal.
    PrimaryTemplate {
        /// The stored revision.
        revision: Fingerprint,
        /// The run that promotes it; becomes the `flagger-id` annotation together with the Canary's uid.
        run: u64,
        /// How often the run has written it anew, for pods that did not come up; 0: the first time.
        attempt: u32,
        /// Replicas, strategy and other Deployment fields follow the target where no scaler does.
        replicas: u32,
    },
    /// The primary says that it runs this stored revision. Its template was written before the revision had that name and stays as it is.
    PrimaryNamed(Fingerprint),
    /// The primary's pods were made after that change of what they read live; its template is otherwise what it was.
    PrimaryRestarted {
        /// The mark of what they read.
        mark: String,
    },
    /// This side's workload has at least that many replicas.
    Floor {
        /// Whose workload.
        side: Side,
        /// The least number of replicas.
        replicas: u32,
    },
    /// The primary has its own copy of the scaler, which allows no fewer replicas than that.
    PrimaryScaler {
        /// The least number of replicas; 0: what the scaler itself says.
        floor: u32,
        /// What it takes over of the team's scaler.
        follow: Follow,
    },
    /// The target has no replicas.
    TargetDown,
    /// `<apex>-primary` or `<apex>-canary` stands as rendered.
    SideService(Side),
    /// What the provider draws beside that Service stands as rendered, so that the route can lead there.
    SideDestination(Side),
    /// The route stands as rendered and does this with requests.
    Route(Traffic),
    /// The route names these Services beside what it leads to now, without giving them traffic, so that the data plane has
    /// loaded their pods when it does (`design.md`: destinations before routes).
    RouteAnnounced(Destination),
    /// The route gives these Services all traffic and still names what it led to before, without traffic, so that the data plane
    /// forgets those only when it sends nothing there any more.
    RouteLeads(Destination),
    /// The apex Service stands as rendered and selects these pods.
    Apex(Selects),
    /// Every kind of write that the run will send was accepted as a dry run: first weight and copies, way back, primary's template, target down.
    Rehearsed {
        /// The run.
        run: u64,
        /// What the route is to do in it for the first time.
        trials: Vec<Traffic>,
        /// What it does when the run was called off.
        home: Traffic,
        /// The revision under test.
        revision: Fingerprint,
    },
    /// The store keeps these revisions and no others of this Canary.
    Pruned(Vec<Fingerprint>),
    /// The route leads to the apex Service alone, or to what stood there before Serin, with `original`.
    RouteHandedBack {
        /// Restore what was stored at adoption (`revertOnDeletion`).
        original: bool,
    },
    /// Objects that carry traffic are no longer owned by the Canary, so that the garbage collector leaves them.
    Released {
        /// Also the primary and the Services of both sides: it is the primary that serves.
        everything: bool,
    },
    /// Of these nothing is left that this Canary controls.
    Discarded(Vec<Leftover>),
    /// The finalizer is gone. Nothing is done after it.
    Unfinalized {
        /// What stood before the Canary gets its own ports back with it.
        hand_back: bool,
    },
}
