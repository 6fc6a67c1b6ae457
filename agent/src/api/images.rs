//! Requests about images.

use super::failure::Failure;
use super::types::{ImageView, PullEvent, PullRequest, Removed};
use super::{Api, lines, unreadable, views};
use crate::registry;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use berth_runtime::errno::chain;
use berth_runtime::image::Reference;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Which containers that have not stopped use which image, by the image's full name.
fn uses(api: &Api) -> HashMap<String, Vec<String>> {
    let mut uses: HashMap<String, Vec<String>> = HashMap::new();
    for state in api.engine.tasks() {
        if state.row.outcome.is_some() {
            continue;
        }
        for container in &state.row.task.containers {
            if let Ok(reference) = container.image.parse::<Reference>() {
                uses.entry(reference.to_string()).or_default().push(format!("{}/{}", state.row.name, container.name));
            }
        }
    }
    uses
}

pub(super) async fn list(State(api): State<Api>) -> Result<Json<Vec<ImageView>>, Failure> {
    let store = api.images.store().clone();
    let images = tokio::task::spawn_blocking(move || store.images()).await;
    let images = images.map_err(|e| Failure::internal(format!("list images: {e}")))?;
    let mut uses = uses(&api);
    let view = |record: &berth_runtime::image::ImageRecord| {
        views::image(record, uses.remove(&record.reference).unwrap_or_default())
    };
    Ok(Json(images.iter().map(view).collect()))
}

fn parse(text: &str) -> Result<Reference, Failure> {
    text.parse::<Reference>().map_err(|e| Failure::bad(chain(&e)).field("reference"))
}

/// The name as it is in the store: the whole one, or the one that people write.
fn full_name(api: &Api, text: &str) -> Result<String, Failure> {
    let name = parse(text)?.to_string();
    let missing =
        || Failure::missing(format!("image `{text}` is not here")).hint("`berth images` lists those that are");
    api.images.store().resolve(&name).map(|record| record.reference).ok_or_else(missing)
}

pub(super) async fn remove(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<Removed>, Failure> {
    let name = full_name(&api, &text)?;
    if let Some(users) = uses(&api).remove(&name) {
        return Err(Failure::conflict(format!("image `{text}` is used by {}", users.join(", "))));
    }
    api.images.forget(&name);
    let (store, removed) = (api.images.store().clone(), name.clone());
    let result = tokio::task::spawn_blocking(move || store.remove(&name)).await;
    let result = result.map_err(|e| Failure::internal(format!("remove image: {e}")))?;
    result.map_err(|e| Failure::internal(chain(&e)))?;
    Ok(Json(Removed { removed }))
}

pub(super) async fn pull(
    State(api): State<Api>,
    request: Result<Json<PullRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(request) = request.map_err(|e| unreadable(&e))?;
    let reference = parse(&request.reference)?;
    // Progress may come faster than it is read: what does not fit is left out, but for manifest and end.
    let (out, body) = mpsc::channel::<PullEvent>(1024);
    tokio::spawn(async move {
        let progress = Progress { out: out.clone(), sizes: Arc::default() };
        let pulled = tokio::select! {
            pulled = api.images.pull(&reference, move |event| progress.tell(&event)) => pulled,
            // Nobody listens any more: nobody wants it.
            () = out.closed() => return,
        };
        let last = match pulled {
            Ok(record) => PullEvent::Done { image: views::image(&record, Vec::new()) },
            Err(e) => PullEvent::Failed { error: views::pull_error(&e) },
        };
        let _ = out.send(last).await;
    });
    Ok(lines(body))
}

struct Progress {
    out: mpsc::Sender<PullEvent>,
    sizes: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Progress {
    /// Called from several threads, and must not block.
    fn tell(&self, event: &registry::PullEvent) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        if let registry::PullEvent::Resolved { layers, .. } = event {
            *sizes = layers.iter().map(|(digest, size)| (digest.to_string(), *size)).collect();
        }
        let _ = self.out.try_send(views::pull_event(event, &sizes));
    }
}
