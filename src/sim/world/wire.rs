//! The wire to the API server: watches in, writes out.
//!
//! Who owns which field is nothing that these controllers look at, so it is dropped on arrival.

use futures::{Stream, StreamExt, TryStreamExt};
use kube::{
    Client,
    api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
    core::Request,
    runtime::watcher,
};
use serde_json::Value;

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
    let answer = match try_send(client, &api, name, &write.what).await {
        Ok(Some(object)) => return Answer::Is(seen(object)),
        Ok(None) => return Answer::Gone,
        Err(error) => error,
    };
    let outdated = matches!(&answer, kube::Error::Api(status) if matches!(status.code, 404 | 409 | 422));
    match api.get_opt(name).await {
        Ok(object) if outdated => Answer::Outdated(object.map(seen)),
        _ => {
            tracing::debug!(error = %answer, on = ?write.on, "a write of the embedded cluster failed");
            Answer::Failed
        }
    }
}

/// The object as it is after the write; none where it is gone.
async fn try_send(
    client: &Client,
    api: &Api<DynamicObject>,
    name: &str,
    what: &What,
) -> Result<Option<DynamicObject>, kube::Error> {
    let post = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let request = Request::new(api.resource_url());
    let bytes = |body: &Value| serde_json::to_vec(body).map_err(kube::Error::SerdeError);
    let built = |request: Result<_, kube::core::request::Error>| request.map_err(kube::Error::BuildRequest);
    match what {
        What::Create(body) => {
            let request = built(request.create(&post, bytes(body)?))?;
            client.request(request).await.map(Some)
        }
        What::Status(body) => {
            let request = built(request.replace_subresource("status", name, &post, bytes(body)?))?;
            client.request(request).await.map(Some)
        }
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
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => News::Is(seen(object)),
        watcher::Event::Delete(object) => News::Went(seen(object)),
    };
    let watcher = kube::runtime::WatchStreamExt::default_backoff(watcher(api, watcher::Config::default()));
    watcher
        .inspect_err(|error| tracing::debug!(%error, "a watch of the embedded cluster broke"))
        .filter_map(move |event| std::future::ready(event.ok().map(|event| (kind, news(event)))))
}

fn seen(mut object: DynamicObject) -> Box<DynamicObject> {
    object.metadata.managed_fields = None;
    Box::new(object)
}
