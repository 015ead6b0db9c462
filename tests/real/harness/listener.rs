//! The server that the Canaries' hooks call. It writes down every call, and answers, refuses or hangs as it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::harness::Outcome;

/// How long an answer takes: long enough for two checks at once to be seen.
const THINKING: Duration = Duration::from_millis(300);

/// What a Canary's hooks get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// 200.
    #[default]
    Well,
    /// 500.
    Badly,
    /// Nothing, ever.
    Never,
}

/// One call, as it was received.
#[derive(Clone, Debug)]
pub struct Call {
    /// The `Idempotency-Key`.
    pub key: String,
    /// When it came.
    pub began: DateTime<Utc>,
    /// When it was answered, or the caller hung up; nothing while it is under way.
    pub ended: Option<DateTime<Utc>>,
}

/// Listens until dropped.
pub struct Listener {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

/// By namespace and name of the Canary.
#[derive(Default)]
struct Shared {
    manners: HashMap<String, Answers>,
    calls: HashMap<String, Vec<Call>>,
}

type Book = Arc<Mutex<Shared>>;

fn open(book: &Book) -> MutexGuard<'_, Shared> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listener {
    /// Starts to listen. Everybody is answered well.
    pub async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Book::default();
        let router = Router::new()
            .route("/{namespace}/{name}", post(answer))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("listener: {error}");
            }
        });
        Ok(Self { address, shared, task })
    }

    /// Where a Canary's hooks call.
    pub fn url(&self, canary: &str) -> String {
        format!("http://{}/{canary}", self.address)
    }

    /// From now on the calls of this Canary are answered so.
    pub fn answer(&self, canary: &str, answers: Answers) {
        open(&self.shared).manners.insert(canary.to_owned(), answers);
    }

    /// Every call of a Canary so far, in the order in which they came.
    pub fn calls(&self, canary: &str) -> Vec<Call> {
        open(&self.shared).calls.get(canary).cloned().unwrap_or_default()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A call that is under way. It ends when it is answered and when the caller hangs up: both drop it.
struct UnderWay {
    book: Book,
    canary: String,
    place: usize,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut shared = open(&self.book);
        let calls = shared.calls.get_mut(&self.canary);
        if let Some(call) = calls.and_then(|calls| calls.get_mut(self.place)) {
            call.ended = Some(Utc::now());
        }
    }
}

async fn answer(
    State(book): State<Book>,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> StatusCode {
    let canary = format!("{namespace}/{name}");
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let call = Call {
        key: key.unwrap_or_default().to_owned(),
        began: Utc::now(),
        ended: None,
    };
    let (place, answers) = {
        let mut shared = open(&book);
        let answers = shared.manners.get(&canary).copied().unwrap_or_default();
        let calls = shared.calls.entry(canary.clone()).or_default();
        calls.push(call);
        (calls.len() - 1, answers)
    };
    let _under_way = UnderWay { book, canary, place };
    match answers {
        Answers::Well | Answers::Badly => sleep(THINKING).await,
        Answers::Never => std::future::pending().await,
    }
    if answers == Answers::Well {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}
