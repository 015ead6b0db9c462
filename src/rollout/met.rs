//! `met`: whether an assertion holds in what was observed. What holds is not written.

use super::assertion::{Assertion, Destination, Leftover};
use super::known::Known;
use super::observation::{Memory, Observation, Rehearsal, Selects, ServiceFacts, Workload};
use super::state::Block;
use super::weight::Side;

/// Whether the observation shows what the assertion says.
pub fn met(assertion: &Assertion, block: &Block, observation: &Observation, memory: &Memory) -> bool {
    match assertion {
        Assertion::Finalizer => observation.finalizer,
        Assertion::Unfinalized { .. } => !observation.finalizer,
        Assertion::Stored(fingerprint) => observation.stored.is_present_and(|stored| stored.contains(fingerprint)),
        Assertion::Pruned(keep) => observation
            .stored
            .is_present_and(|stored| stored.iter().all(|one| keep.contains(one))),
        Assertion::PrimaryExists { .. } => !observation.primary.is_absent(),
        Assertion::PrimaryTemplate {
            revision, run, attempt, ..
        } => observation.primary.is_present_and(|primary| {
            let is_anew = *attempt == 0 || primary.attempt.is_some_and(|written| written >= (*run, *attempt));
            primary.fingerprint.as_ref() == Some(revision) && is_anew
        }),
        Assertion::PrimaryNamed(_) => observation.primary.is_present_and(|primary| primary.unpinned.is_none()),
        Assertion::PrimaryRestarted { mark } => observation
            .primary
            .is_present_and(|primary| primary.restarted.as_ref() == Some(mark)),
        Assertion::Floor { side, replicas } => {
            workload(observation, *side).is_some_and(|workload| workload.replicas >= *replicas)
        }
        Assertion::PrimaryScaler { floor, follow } => {
            let scaler = observation.scaler.as_ref();
            scaler.is_none_or(|scaler| scaler.stands(*floor, *follow))
        }
        Assertion::TargetDown => observation.target.is_present_and(|target| target.replicas == 0),
        Assertion::SideService(side) => {
            let (service, wanted) = match side {
                Side::Primary => (&observation.primary_service, Selects::Primary),
                Side::Canary => (&observation.canary_service, Selects::Target),
            };
            service.is_present_and(|service| service.drawn && service.selects == wanted)
        }
        Assertion::SideDestination(side) => {
            let destinations = observation.destinations.as_ref();
            destinations.is_none_or(|both| both.of(*side).is_present_and(|drawn| *drawn))
        }
        Assertion::Route(traffic) => observation
            .route
            .is_present_and(|route| route.drawn.as_ref() == Some(traffic)),
        Assertion::RouteAnnounced(destination) => observation.route.is_present_and(|route| match destination {
            Destination::Sides => route.announced,
            Destination::Apex => route.apex_announced,
        }),
        Assertion::RouteLeads(destination) => observation
            .route
            .is_present_and(|route| route.parting == Some(*destination)),
        Assertion::Apex(selects) => observation
            .apex_service
            .is_present_and(|apex| apex.drawn && apex.selects == *selects),
        Assertion::Rehearsed { run, .. } => {
            matches!(&memory.rehearsal, Some((rehearsed, Rehearsal::Accepted)) if rehearsed == run && *run == block.run)
        }
        Assertion::RouteHandedBack { .. } => observation.route.present().is_none_or(|route| route.handed_back),
        Assertion::Discarded(leftovers) => leftovers.iter().all(|leftover| is_gone(*leftover, observation)),
        Assertion::Released { everything } => {
            let free = |service: &Known<ServiceFacts>| service.present().is_none_or(|service| !service.owned);
            let sides = free(&observation.primary_service) && free(&observation.canary_service);
            let primary = observation.primary.present().is_none_or(|primary| !primary.owned);
            free(&observation.apex_service)
                && observation.route.present().is_none_or(|route| !route.owned)
                && (!everything || (sides && primary && scaler_is_free(observation)))
        }
    }
}

/// Whether nothing of it is left that this Canary controls.
fn is_gone(leftover: Leftover, observation: &Observation) -> bool {
    let service = |service: &Known<ServiceFacts>| service.is_absent() || service.is_present_and(|it| !it.owned);
    match leftover {
        Leftover::Service(Side::Primary) => service(&observation.primary_service),
        Leftover::Service(Side::Canary) => service(&observation.canary_service),
        Leftover::Primary => observation.primary.is_absent() || observation.primary.is_present_and(|it| !it.owned),
        Leftover::Scaler => scaler_is_free(observation),
        Leftover::FormerPrimary => {
            observation.former_primary.is_absent() || observation.former_primary.is_present_and(|owned| !owned)
        }
    }
}

/// Whether this Canary controls no copy of a scaler.
fn scaler_is_free(observation: &Observation) -> bool {
    let scaler = observation.scaler.as_ref();
    scaler.is_none_or(|scaler| scaler.copy.is_absent() || scaler.copy.is_present_and(|copy| !copy.owned))
}

fn workload(observation: &Observation, side: Side) -> Option<&Workload> {
    match side {
        Side::Primary => observation.primary.present(),
        Side::Canary => observation.target.present(),
    }
}
