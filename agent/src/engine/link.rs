//! The agent's end of a shim's socket.
//!
//! A task of its own reads frames and passes on what matters; wishes go the other way. The end of the connection is the
//! end of the shim only when its lock is free: until then the link connects again.

use super::prepare::is_shim_alive;
use crate::store::StopWish;
use berth_runtime::errno::chain;
use berth_runtime::rundir::TaskDirs;
use berth_runtime::shim::frame::{FrameError, Inbox, frame};
use berth_runtime::shim::protocol::{FromShim, PROTOCOL_VERSION, ToShim};
use berth_runtime::task::view::TaskView;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Between two tries to reach a shim that is alive and does not answer.
const AGAIN: Duration = Duration::from_millis(100);

/// How long a shim has to go once it was told that its task's end is on record.
const GOING: Duration = Duration::from_secs(10);

/// What comes of a shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// The task as it is now.
    View(TaskView),
    /// The shim's process is gone.
    Gone,
}

/// A shim that is, or was, alive. Dropping it leaves the shim alone.
#[derive(Debug)]
pub(super) struct ShimLink {
    news: mpsc::UnboundedReceiver<News>,
    wishes: mpsc::UnboundedSender<ToShim>,
    task: AbortHandle,
}

impl Drop for ShimLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ShimLink {
    /// Begins to speak with the shim of a task.
    pub(super) fn open(dirs: TaskDirs) -> Self {
        let (news_out, news) = mpsc::unbounded_channel();
        let (wishes, wishes_in) = mpsc::unbounded_channel();
        let task = tokio::spawn(speak(dirs, news_out, wishes_in)).abort_handle();
        Self { news, wishes, task }
    }

    /// What comes next; `Gone` is the last.
    pub(super) async fn next(&mut self) -> News {
        self.news.recv().await.unwrap_or(News::Gone)
    }

    /// Passes on that the task is to stop.
    pub(super) fn stop(&self, wish: &StopWish) {
        let StopWish { generation, timeout_ms, reason } = wish.clone();
        let _ = self.wishes.send(ToShim::Stop { generation, timeout_ms, reason });
    }

    /// Lets the shim go.
    pub(super) fn collect(&self) {
        let _ = self.wishes.send(ToShim::Collect);
    }
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("speak with shim")]
    Stream(#[source] io::Error),
    #[error("speak with shim")]
    Frame(#[source] FrameError),
}

async fn speak(dirs: TaskDirs, news: mpsc::UnboundedSender<News>, mut wishes: mpsc::UnboundedReceiver<ToShim>) {
    // What the shim was last told: said again on a new connection, where the generation makes it harmless.
    let mut last: Option<ToShim> = None;
    let mut warned = false;
    loop {
        let broken = session(&dirs, &news, &mut wishes, &mut last).await;
        match is_shim_alive(&dirs) {
            Ok(false) => break,
            Ok(true) if last == Some(ToShim::Collect) => {
                if !wait_gone(&dirs, GOING).await {
                    tracing::warn!(shim = %dirs.run().display(), "shim was let go and stays: left alone");
                }
                break;
            }
            alive => {
                if !warned {
                    let err = alive.err().map(|e| chain(&e)).or_else(|| broken.err().map(|e| chain(&e)));
                    tracing::warn!(shim = %dirs.run().display(), err, "shim has hung up and is alive: trying again");
                    warned = true;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    let _ = news.send(News::Gone);
}

async fn wait_gone(dirs: &TaskDirs, patience: Duration) -> bool {
    let deadline = tokio::time::Instant::now() + patience;
    while tokio::time::Instant::now() < deadline {
        if matches!(is_shim_alive(dirs), Ok(false)) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

async fn session(
    dirs: &TaskDirs,
    news: &mpsc::UnboundedSender<News>,
    wishes: &mut mpsc::UnboundedReceiver<ToShim>,
    last: &mut Option<ToShim>,
) -> Result<(), Broken> {
    let mut stream = UnixStream::connect(dirs.socket()).await.map_err(Broken::Stream)?;
    let (mut reader, mut writer) = stream.split();
    let mut first = frame(&ToShim::Hello { version: PROTOCOL_VERSION });
    if let Some(wish) = &*last {
        first.extend(frame(wish));
    }
    writer.write_all(&first).await.map_err(Broken::Stream)?;
    let mut inbox = Inbox::default();
    let mut buffer = vec![0; 8192];
    loop {
        tokio::select! {
            read = reader.read(&mut buffer) => {
                match read.map_err(Broken::Stream)? {
                    0 => return Ok(()),
                    n => inbox.push(&buffer[..n]),
                }
                while let Some(message) = inbox.take::<FromShim>().map_err(Broken::Frame)? {
                    if let FromShim::View { view } = message {
                        let _ = news.send(News::View(view));
                    }
                }
            }
            Some(wish) = wishes.recv() => {
                writer.write_all(&frame(&wish)).await.map_err(Broken::Stream)?;
                *last = Some(wish);
            }
        }
    }
}
