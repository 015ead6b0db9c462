//! A line between two programs on which everything that one of them says arrives later, in its order.
//!
//! On one machine a gateway hears of a change within a millisecond. In a cluster it hears later, and a controller that does not
//! give it time must be seen to lose requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::harness::Outcome;

/// The most bytes that are taken at once.
const PIECE: usize = 64 * 1024;

/// Pieces that may be on their way.
const UNDER_WAY: usize = 1024;

/// Carries connections until dropped. Without a delay it is an ordinary line.
pub struct SlowLine {
    delay: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl SlowLine {
    /// Takes connections at `near` and leads each of them to `far`.
    pub async fn start(near: SocketAddr, far: SocketAddr) -> Outcome<Self> {
        let listener = TcpListener::bind(near).await?;
        let delay = Arc::new(AtomicU64::new(0));
        let of_connections = Arc::clone(&delay);
        let task = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(carry(caller, far, Arc::clone(&of_connections)));
            }
        });
        Ok(Self { delay, task })
    }

    /// From now on, what the far end says arrives that much later. What the near end says is not held up.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.delay.store(millis, Ordering::Relaxed);
    }
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection; when either end closes it, it is closed at both.
async fn carry(caller: TcpStream, far: SocketAddr, delay: Arc<AtomicU64>) {
    let Ok(callee) = TcpStream::connect(far).await else {
        return;
    };
    let _ = (caller.set_nodelay(true), callee.set_nodelay(true));
    let (mut from_caller, to_caller) = caller.into_split();
    let (from_callee, mut to_callee) = callee.into_split();
    tokio::select! {
        _ = tokio::io::copy(&mut from_caller, &mut to_callee) => {}
        () = carry_later(from_callee, to_caller, &delay) => {}
    }
}

async fn carry_later(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: &AtomicU64) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async move {
        let mut buffer = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + Duration::from_millis(delay.load(Ordering::Relaxed));
            if sender.send((due, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
