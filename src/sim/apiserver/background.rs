//! The server's own controllers, on one task: garbage collection, and emptying what is being torn down.
//!
//! The task starts with the first request that gives it work and sleeps when there is none. It works through the clock,
//! a moment after the change, as the real controllers do.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use tokio::sync::Notify;

use super::{Inner, gc, metadata, store::Change, teardown};

/// How long after a change the controllers look at it.
const REACTION: Duration = Duration::from_millis(200);
/// How many rounds one wake-up may take before it waits again; each round can give work to the next.
const ROUNDS: usize = 64;

/// The task's handle.
#[derive(Default)]
pub(super) struct Background {
    started: OnceLock<Arc<Notify>>,
}

impl Background {
    /// Gives the task a sign, and starts it if it does not run yet.
    pub(super) fn wake(&self, server: &Arc<Inner>) {
        let notify = self.started.get_or_init(|| {
            let notify = Arc::new(Notify::new());
            tokio::spawn(run(Arc::downgrade(server), notify.clone()));
            notify
        });
        notify.notify_one();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(notify) = self.started.get() {
            notify.notify_one();
        }
    }
}

/// Whether a change may be of interest to a controller.
pub(super) fn concerns(change: &Change) -> bool {
    let owners = |object: &serde_json::Value| object["metadata"].get("ownerReferences").cloned();
    match (&change.before, &change.after) {
        (_, None) => true,
        (before, Some(after)) => metadata::is_terminating(after) || owners(after) != before.as_deref().and_then(owners),
    }
}

async fn run(server: Weak<Inner>, notify: Arc<Notify>) {
    loop {
        notify.notified().await;
        let Some(clock) = server.upgrade().map(|server| server.clock().clone()) else {
            return;
        };
        clock.sleep(REACTION).await;
        let Some(server) = server.upgrade() else { return };
        let mut state = server.lock();
        for _ in 0..ROUNDS {
            if !std::mem::take(&mut state.unsettled) {
                break;
            }
            let now = clock.now();
            gc::collect(&mut state, now);
            teardown::empty(&mut state, now);
        }
        if state.unsettled {
            notify.notify_one();
        }
    }
}
