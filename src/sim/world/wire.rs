//! The wire to the API server: watches in, writes out.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use serde_json::Value;

use super::{
    mirror::News,
    write::{Kind, Place, What, Write},
};
use crate::{
    clock::Clock,
    sim::apiserver::{Direct, Sight},
};

/// How long after a refusal a kind is watched again: it may not be served yet.
const AGAIN: Duration = Duration::from_secs(10);

/// What became of a write.
pub(super) enum Answer {
    /// It was taken, and the object is like this now.
    Is(Arc<Value>),
    /// The object is gone, as was asked.
    Gone,
    /// It was refused because the object is another one than was seen: this one, or none.
    Outdated(Option<Arc<Value>>),
    /// It did not come to an answer, or to one that helps.
    Failed,
}

/// Sends one write.
pub(super) fn send(server: &Direct, Write { on, what }: Write) -> Answer {
    let Place { kind, namespace, name } = &on;
    let kind = kind.resource();
    let outcome = match what {
        What::Create(body) => server.create(&kind, namespace, body).map(Some),
        What::Status(body) => server.put_status(&kind, namespace, name, body).map(Some),
        What::Merge(body) => server.merge(&kind, namespace, name, body).map(Some),
        What::Delete { uid, grace } => server.delete(&kind, namespace, name, &uid, grace),
    };
    let refused = match outcome {
        Ok(Some(object)) => return Answer::Is(object),
        Ok(None) => return Answer::Gone,
        Err(refused) => refused,
    };
    let outdated = matches!(refused.code, 404 | 409 | 422);
    match server.get(&kind, namespace, name) {
        Ok(object) if outdated => Answer::Outdated(Some(object)),
        Err(absent) if outdated && absent.code == 404 => Answer::Outdated(None),
        _ => {
            tracing::debug!(error = refused.message, ?on, "a write of the embedded cluster failed");
            Answer::Failed
        }
    }
}

/// The endless news of one kind. A watch that ended begins again by itself.
pub(super) fn watch(server: Direct, clock: Clock, kind: Kind) -> impl Stream<Item = (Kind, News)> {
    let opened = stream::repeat(()).then(move |()| opened(server.clone(), clock.clone(), kind));
    opened.flatten().map(move |news| (kind, news))
}

/// The news of one watch: a list, and what changes after it.
async fn opened(server: Direct, clock: Clock, kind: Kind) -> impl Stream<Item = News> {
    let (objects, events) = loop {
        match server.follow(&kind.resource()) {
            Ok(followed) => break followed,
            Err(refused) => {
                tracing::debug!(
                    error = refused.message,
                    ?kind,
                    "a watch of the embedded cluster was refused"
                );
                clock.sleep(AGAIN).await;
            }
        }
    };
    let listed = objects.into_iter().map(News::Is);
    let list = [News::ListBegins].into_iter().chain(listed).chain([News::ListEnds]);
    stream::iter(list).chain(events.map(|sight| match sight {
        Sight::Is(object) => News::Is(object),
        Sight::Went(object) => News::Went(object),
    }))
}
