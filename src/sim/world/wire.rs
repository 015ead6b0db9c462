//! The wire to the API server: watches in, writes out.

use futures::{Stream, StreamExt, TryStreamExt};
use kube::{
    Client,
    api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
    runtime::watcher,
};

use super::{
    mirror::News,
    write::{Kind, Place, What, Write},
};

const MANAGER: &str = "kube-controller-manager";

/// What became of a write.
pub(super) enum Answer {
    /// It was taken, and the object is like this now.
    Is(Box<DynamicObject>),
    /// The object is gone, as was asked.
    Gone,
    /// It was refused because the object is another one than was seen: this one, or none.
    Outdated(Option<Box<DynamicObject>>),
    /// It did not come to an answer, or to one that helps.
    Failed,
}

/// Sends one write.
pub(super) async fn send(client: &Client, write: &Write) -> Answer {
    let Place { kind, namespace, name } = &write.on;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.resource());
    let answer = match try_send(&api, name, &write.what).await {
        Ok(Some(object)) => return Answer::Is(Box::new(object)),
        Ok(None) => return Answer::Gone,
        Err(error) => error,
    };
    let outdated = matches!(&answer, kube::Error::Api(status) if matches!(status.code, 404 | 409 | 422));
    match api.get_opt(name).await {
        Ok(object) if outdated => Answer::Outdated(object.map(Box::new)),
        _ => {
            tracing::debug!(error = %answer, on = ?write.on, "a write of the embedded cluster failed");
            Answer::Failed
        }
    }
}

/// The object as it is after the write; none where it is gone.
async fn try_send(api: &Api<DynamicObject>, name: &str, what: &What) -> Result<Option<DynamicObject>, kube::Error> {
    let post = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let parsed = |body: &serde_json::Value| serde_json::from_value(body.clone()).map_err(kube::Error::SerdeError);
    match what {
        What::Create(body) => api.create(&post, &parsed(body)?).await.map(Some),
        What::Status(body) => api.replace_status(name, &post, &parsed(body)?).await.map(Some),
        What::Merge(body) => {
            let params = PatchParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PatchParams::default()
            };
            api.patch(name, &params, &Patch::Merge(body)).await.map(Some)
        }
        What::Delete { uid, grace } => {
            let only = Preconditions {
                uid: Some(uid.clone()),
                resource_version: None,
            };
            let params = DeleteParams {
                grace_period_seconds: *grace,
                preconditions: Some(only),
                ..DeleteParams::default()
            };
            // A pod that is given no grace is gone, though the answer shows it once more.
            api.delete(name, &params)
                .await
                .map(|answer| answer.left().filter(|_| *grace != Some(0)))
        }
    }
}

/// The endless news of one kind. A broken watch begins again by itself.
pub(super) fn watch(client: Client, kind: Kind) -> impl Stream<Item = (Kind, News)> {
    let api: Api<DynamicObject> = Api::all_with(client, &kind.resource());
    let news = |event| match event {
        watcher::Event::Init => News::ListBegins,
        watcher::Event::InitDone => News::ListEnds,
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => News::Is(Box::new(object)),
        watcher::Event::Delete(object) => News::Went(Box::new(object)),
    };
    let watcher = kube::runtime::WatchStreamExt::default_backoff(watcher(api, watcher::Config::default()));
    watcher
        .inspect_err(|error| tracing::debug!(%error, "a watch of the embedded cluster broke"))
        .filter_map(move |event| std::future::ready(event.ok().map(|event| (kind, news(event)))))
}
