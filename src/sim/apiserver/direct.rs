//! The way in for the cluster's own controllers: the handlers of the server without HTTP, and objects without their text.
//!
//! A call has the same rights, takes the same road and stands in the audit as one that comes over a connection, and a watch is as late
//! as any other. Nothing breaks on the way: a fault is between a client and the server.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::core::ApiResource;
use serde_json::{Value, json};

use super::{
    ApiServer, AuditEntry, Inner,
    call::{Call, Content, Verb},
    create, delete,
    errors::Refusal,
    patch,
    path::Query,
    state::State,
    store::Key,
    update,
    watch::{self, Event},
};

/// A user of the server within the process; clones are the same user.
#[derive(Clone)]
pub(in crate::sim) struct Direct {
    server: Arc<Inner>,
    user: Arc<str>,
}

/// A refused call.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Refused {
    /// The HTTP code that a client would get.
    pub(in crate::sim) code: u16,
    /// The server's words.
    pub(in crate::sim) message: String,
}

/// What a watch saw.
#[derive(Clone, Debug)]
pub(in crate::sim) enum Sight {
    /// The object is like this now.
    Is(Arc<Value>),
    /// The object, as it was last, is gone.
    Went(Arc<Value>),
}

impl ApiServer {
    /// A way past HTTP for this user, who is also the field manager of what is changed.
    pub(in crate::sim) fn direct(&self, user: &str) -> Direct {
        Direct {
            server: self.inner.clone(),
            user: user.into(),
        }
    }
}

impl From<Refusal> for Refused {
    fn from(Refusal { code, message, .. }: Refusal) -> Self {
        Self { code, message }
    }
}

impl Direct {
    /// Reads one object.
    pub(in crate::sim) fn get(&self, of: &ApiResource, namespace: &str, name: &str) -> Result<Arc<Value>, Refused> {
        self.serve(&self.call(Verb::Get, of, namespace, name)?, |state, call| {
            let object = state.current(call);
            Ok((
                200,
                object.ok_or_else(|| Refusal::not_found(&call.resource, &call.name))?,
            ))
        })
    }

    /// Creates an object. Who set which field of what the cluster makes for itself is not noted: nobody asks.
    pub(in crate::sim) fn create(&self, of: &ApiResource, namespace: &str, body: Value) -> Result<Arc<Value>, Refused> {
        let mut call = self.call(Verb::Create, of, namespace, "")?;
        call.body = Content::Document(body);
        self.serve(&call, |state, call| Ok((201, create::create_untracked(state, call)?)))
    }

    /// Puts the status of a whole object, on the resourceVersion that it carries.
    pub(in crate::sim) fn put_status(
        &self,
        of: &ApiResource,
        namespace: &str,
        name: &str,
        body: Value,
    ) -> Result<Arc<Value>, Refused> {
        let mut call = self.call(Verb::Update, of, namespace, name)?;
        "status".clone_into(&mut call.subresource);
        call.body = Content::Document(body);
        self.serve(&call, |state, call| Ok((200, update::replace(state, call)?.object)))
    }

    /// Changes an object by a JSON merge patch.
    pub(in crate::sim) fn merge(
        &self,
        of: &ApiResource,
        namespace: &str,
        name: &str,
        body: Value,
    ) -> Result<Arc<Value>, Refused> {
        let mut call = self.call(Verb::Patch, of, namespace, name)?;
        "application/merge-patch+json".clone_into(&mut call.content_type);
        call.body = Content::Document(body);
        self.serve(&call, |state, call| Ok((200, patch::patch(state, call)?.object)))
    }

    /// Deletes the object with this uid, after `grace` seconds or those of its own. What stays of it for now is given back.
    pub(in crate::sim) fn delete(
        &self,
        of: &ApiResource,
        namespace: &str,
        name: &str,
        uid: &str,
        grace: Option<u32>,
    ) -> Result<Option<Arc<Value>>, Refused> {
        let mut call = self.call(Verb::Delete, of, namespace, name)?;
        call.body = Content::Document(json!({ "gracePeriodSeconds": grace, "preconditions": { "uid": uid } }));
        self.serve(&call, |state, call| {
            let outcome = delete::one(state, call)?;
            Ok((200, (!outcome.gone).then_some(outcome.object)))
        })
    }

    /// All objects of a kind as they are now, and what happens to them from now on, until the watch has lived its time.
    pub(in crate::sim) fn follow(
        &self,
        of: &ApiResource,
    ) -> Result<(Vec<Arc<Value>>, impl Stream<Item = Sight> + Send + use<>), Refused> {
        let list = self.call(Verb::List, of, "", "")?;
        let (objects, revision) = self.serve(&list, |state, call| {
            let objects = state.store.list(&call.resource.storage, "");
            let objects: Vec<_> = objects.map(|(_, object)| object.clone()).collect();
            Ok((200, (objects, state.store.revision())))
        })?;
        let mut watch = self.call(Verb::Watch, of, "", "")?;
        watch.query = Query::parse(&format!("resourceVersion={revision}"));
        let events = self.serve(&watch, |state, call| Ok((200, watch::open(&self.server, state, call)?)))?;
        let sight = |event: Event| match event.kind {
            "ADDED" | "MODIFIED" => Some(Sight::Is(event.object)),
            "DELETED" => Some(Sight::Went(event.object)),
            _ => None,
        };
        Ok((
            objects,
            events.filter_map(move |event| std::future::ready(sight(event))),
        ))
    }

    fn call(&self, verb: Verb, of: &ApiResource, namespace: &str, name: &str) -> Result<Call, Refused> {
        let state = self.server.lock();
        let resource = state.catalogue.find(&of.group, &of.version, &of.plural);
        let resource = resource.ok_or_else(Refusal::no_such_path)?;
        let (key, now) = (Key::new(namespace, name), self.server.clock().now());
        Ok(Call::internal(&self.user, verb, resource, &key, now))
    }

    /// Serves a call from start to end, under the lock. `handle` gives the code of its answer too.
    fn serve<T>(
        &self,
        call: &Call,
        handle: impl FnOnce(&mut State, &Call) -> Result<(u16, T), Refusal>,
    ) -> Result<T, Refused> {
        let mut state = self.server.lock();
        let outcome = state.denials.check(call).and_then(|()| handle(&mut state, call));
        let code = outcome.as_ref().map_or_else(|refusal| refusal.code, |(code, _)| *code);
        state.audit.push(AuditEntry::of(call, code));
        let unsettled = state.unsettled;
        drop(state);
        if unsettled {
            self.server.background.wake(&self.server);
        }
        Ok(outcome?.1)
    }
}
