//! The workers: as many passes at once as the operator allows, never two of one canary.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::pass::{Engine, Next};
use super::queue::Queue;
use crate::telemetry::health::Health;

/// A pass makes a few dozen bounded requests; one that takes longer than this is stuck.
pub const STUCK: Duration = Duration::from_mins(5);

/// Starts the workers. Each ends after its present pass once `stop` says so.
pub fn start(
    count: usize,
    queue: &Arc<Queue>,
    engine: &Arc<Engine>,
    health: &Health,
    stop: &watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    let pulse = Arc::new(health.pulse("passes", STUCK));
    for _ in 0..count.max(1) {
        let (queue, engine, pulse, mut stop) = (queue.clone(), engine.clone(), pulse.clone(), stop.clone());
        workers.spawn(async move {
            loop {
                let turn = tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => return,
                    turn = queue.next() => turn,
                };
                let _work = pulse.works_on(turn.key.to_string());
                match Box::pin(engine.pass(&turn.key)).await {
                    Next::Now => queue.add(&turn.key),
                    Next::At(time) => queue.wake_at(&turn.key, time),
                }
            }
        });
    }
    workers
}
