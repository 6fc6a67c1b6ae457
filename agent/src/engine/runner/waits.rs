//! What a runner waits for: each future is of the first of its kind, or never resolves where there is none.

use super::{Done, Work};
use crate::engine::admission::{Answer, Ticket};
use crate::engine::link::{News, ShimLink};
use crate::engine::{Shared, now_ms};
use crate::store::Row;
use std::time::Duration;
use tokio::sync::oneshot;

/// Digests of all images, obtained side by side; gives up when `cancelled` resolves.
pub(super) async fn obtain_images(
    shared: &Shared,
    row: &Row,
    cancelled: oneshot::Receiver<()>,
) -> Result<Vec<Option<String>>, String> {
    let all = futures_util::future::try_join_all(
        row.task.containers.iter().map(|c| async { shared.images.obtain(&c.image).await.map(Some) }),
    );
    tokio::select! {
        digests = all => digests.map_err(|e| e.to_string()),
        _ = cancelled => Err("TaskStoppedBeforePullBeginError: stopped while its images were pulled".into()),
    }
}

pub(super) async fn next_done(work: &mut Option<Work>) -> Done {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

pub(super) async fn next_news(link: &mut Option<ShimLink>) -> News {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn next_answer(ticket: &mut Option<Ticket>) -> Answer {
    let answer = match ticket {
        Some(ticket) => ticket.answer().await,
        None => None,
    };
    match answer {
        Some(answer) => answer,
        None => std::future::pending().await,
    }
}

pub(super) async fn sleep_until(at_ms: Option<u64>) {
    match at_ms {
        Some(at) => tokio::time::sleep(Duration::from_millis(at.saturating_sub(now_ms()))).await,
        None => std::future::pending().await,
    }
}
