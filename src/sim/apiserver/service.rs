//! The road of one request: URL and headers, fault hook, rights, the handler, audit, and the answer's body.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture};
use http::{Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::Value;
use tower::BoxError;

use super::{
    AuditEntry, Inner,
    call::{Call, Content, Verb},
    create,
    decode::{self, Source},
    delete, discovery,
    errors::Refusal,
    incoming::{Incoming, call, is_review},
    managed_fields, patch,
    path::{Query, ResourcePath, Target},
    read,
    resource::REVIEWS,
    state::State,
    store::Key,
    subresources, update, watch,
};
use crate::sim::fault::{Action, Failure, Fault};

type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;
type Answer = Response<AnswerBody>;

/// The connection of one client to the server.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) server: Arc<Inner>,
    pub(super) user: Arc<str>,
    pub(super) fault: Arc<dyn Fault>,
    sent: Arc<AtomicUsize>,
}

/// What a handler answers.
enum Reply {
    Document {
        code: u16,
        text: String,
        warnings: Vec<String>,
    },
    Stream(AnswerBody),
}

impl Connection {
    pub(super) fn new(server: Arc<Inner>, user: &str, fault: Arc<dyn Fault>) -> Self {
        Self {
            server,
            user: user.into(),
            fault,
            sent: Arc::default(),
        }
    }
}

impl tower::Service<Request<Body>> for Connection {
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connection = self.clone();
        let seq = self.sent.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { connection.send(request, seq).await })
    }
}

impl Connection {
    async fn send(self, request: Request<Body>, seq: usize) -> Result<Answer, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let incoming = Incoming {
            user: self.user.clone(),
            target: Target::parse(parts.uri.path()),
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            parts,
            body,
        };
        let server = self.server;
        match self.fault.on_request(&incoming.info(seq)) {
            Action::Pass => serve(&server, &incoming),
            Action::FailBefore(failure) => fail(&failure),
            Action::FailAfter(failure) => {
                serve(&server, &incoming)?;
                fail(&failure)
            }
            Action::Delay(span) => {
                let late = tokio::spawn(async move {
                    server.clock().sleep(span).await;
                    serve(&server, &incoming)
                });
                late.await?
            }
            Action::Forbid(message) => Ok(refuse(&Refusal::rejected(403, &message))),
            Action::Reject(code, message) => Ok(refuse(&Refusal::rejected(code, &message))),
        }
    }
}

/// Serves a request from start to end, under the lock.
fn serve(server: &Arc<Inner>, incoming: &Incoming) -> Result<Answer, BoxError> {
    let mut state = server.lock();
    let outcome = route(server, &mut state, incoming);
    let code = match &outcome {
        Ok(Reply::Document { code, .. }) => *code,
        Ok(Reply::Stream(_)) => 200,
        Err(refusal) => refusal.code,
    };
    let path = incoming.path();
    state.audit.push(AuditEntry {
        user: incoming.user.to_string(),
        verb: incoming.verb().map_or("", Verb::word).to_owned(),
        group: path.group,
        resource: path.plural,
        subresource: path.subresource,
        namespace: path.namespace,
        name: path.name,
        code,
        dry_run: incoming.query.get("dryRun") == Some("All"),
        time: server.clock().now(),
    });
    let unsettled = state.unsettled;
    drop(state);
    if unsettled {
        server.background.wake(server);
    }
    match outcome {
        Ok(Reply::Document { code, text, warnings }) => Ok(document(code, text, &warnings)),
        Ok(Reply::Stream(body)) => Ok(Response::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)?),
        Err(refusal) => Ok(refuse(&refusal)),
    }
}

fn route(server: &Arc<Inner>, state: &mut State, incoming: &Incoming) -> Result<Reply, Refusal> {
    let target = incoming.target.as_ref().ok_or_else(Refusal::no_such_path)?;
    let Target::Resource(path) = target else {
        return discovery::answer(&state.catalogue, &state.version, target).map(|body| ok(&body));
    };
    if is_review(path) {
        return review(server, state, incoming, path);
    }
    let call = call(server, state, incoming, path)?;
    state.denials.check(&call)?;
    if !call.subresource.is_empty() && !subresources::is_status(&call) {
        return subresources::serve(state, &call).map(|body| ok(&body));
    }
    let stored = |stored: create::Stored| Reply::Document {
        code: if stored.created { 201 } else { 200 },
        text: call.text(&stored.object),
        warnings: stored.warnings,
    };
    match call.verb {
        Verb::Get => read::get(state, &call).map(|body| ok(&body)),
        Verb::List => {
            read::check_options(&call)?;
            read::list(state, &call).map(|body| ok(&body))
        }
        Verb::Watch => {
            read::check_options(&call)?;
            let events = watch::open(server, state, &call)?;
            let frames = events.map(move |event| Ok::<_, BoxError>(Frame::data(event.line(&call))));
            Ok(Reply::Stream(StreamBody::new(frames).boxed_unsync()))
        }
        Verb::Create => create::create(state, &call).map(stored),
        Verb::Update => update::replace(state, &call).map(stored),
        Verb::Patch => patch::patch(state, &call).map(stored),
        Verb::Delete => delete::delete(state, &call).map(|(code, body)| Reply::Document {
            code,
            text: body.to_string(),
            warnings: Vec::new(),
        }),
        Verb::DeleteCollection => delete::delete_collection(state, &call).map(|body| ok(&body)),
    }
}

/// The reviews of a client's own rights: answered, never stored.
fn review(server: &Inner, state: &State, incoming: &Incoming, path: &ResourcePath) -> Result<Reply, Refusal> {
    let resource = REVIEWS
        .iter()
        .find(|resource| resource.plural == path.plural)
        .ok_or_else(Refusal::no_such_path)?;
    if incoming.verb() != Some(Verb::Create) {
        return Err(Refusal::method_not_allowed());
    }
    let mut call = Call::internal(
        &incoming.user,
        Verb::Create,
        resource,
        &Key::default(),
        server.clock().now(),
    );
    incoming.header(header::USER_AGENT).clone_into(&mut call.user_agent);
    call.query = incoming.query.clone();
    call.body = Content::Text(incoming.body.clone());
    let decoded = decode::object(&call, call.document()?, Source::Body)?;
    let (mut asked, warnings) = (decoded.object, decoded.warnings);
    managed_fields::track_update(&call, &Value::Null, &mut asked);
    let body = if resource.kind == "SelfSubjectAccessReview" {
        state.denials.access_review(&incoming.user, asked)
    } else {
        let resources = state.catalogue.all().map(AsRef::as_ref);
        state.denials.rules_review(&incoming.user, asked, resources)
    };
    Ok(Reply::Document {
        code: 201,
        text: body.to_string(),
        warnings,
    })
}

fn ok(body: &Value) -> Reply {
    Reply::Document {
        code: 200,
        text: body.to_string(),
        warnings: Vec::new(),
    }
}

fn fail(failure: &Failure) -> Result<Answer, BoxError> {
    match failure {
        Failure::InternalError => Ok(refuse(&Refusal::internal("a fault was injected"))),
        Failure::ConnectionReset => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()),
    }
}

fn refuse(refusal: &Refusal) -> Answer {
    if refusal.plain {
        let mut answer = document(refusal.code, String::new(), &[]);
        *answer.body_mut() = Full::new(Bytes::from(refusal.message.clone()))
            .map_err(|never: Infallible| match never {})
            .boxed_unsync();
        answer.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        return answer;
    }
    document(refusal.code, refusal.status().to_string(), &[])
}

fn document(code: u16, text: String, warnings: &[String]) -> Answer {
    let bytes = Full::new(Bytes::from(text))
        .map_err(|never: Infallible| match never {})
        .boxed_unsync();
    let mut answer = Response::new(bytes);
    *answer.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    for warning in warnings {
        let escaped = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = header::HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            headers.append(header::WARNING, value);
        }
    }
    answer
}
