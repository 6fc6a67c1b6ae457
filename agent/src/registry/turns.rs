//! Turns: of all that want the same thing, one does it and the others watch.

use berth_runtime::image::Digest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{OwnedMutexGuard, broadcast};

/// Who has the turn, and what the others hear meanwhile.
#[derive(Debug)]
struct Place<E> {
    turn: Arc<tokio::sync::Mutex<()>>,
    events: broadcast::Sender<E>,
}

/// Places by digest; one that nobody holds or waits for is forgotten.
#[derive(Debug)]
pub(super) struct Turns<E> {
    places: Mutex<HashMap<Digest, Weak<Place<E>>>>,
}

impl<E> Default for Turns<E> {
    fn default() -> Self {
        Self { places: Mutex::new(HashMap::new()) }
    }
}

/// Holds a turn until dropped.
#[derive(Debug)]
pub(super) struct Turn<E> {
    _turn: OwnedMutexGuard<()>,
    place: Arc<Place<E>>,
}

impl<E: Clone> Turn<E> {
    /// Where those that wait for this turn hear of it.
    pub(super) fn events(&self) -> broadcast::Sender<E> {
        self.place.events.clone()
    }
}

impl<E: Clone> Turns<E> {
    fn places(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Place<E>>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, digest: &Digest) -> Arc<Place<E>> {
        let mut places = self.places();
        if let Some(place) = places.get(digest).and_then(Weak::upgrade) {
            return place;
        }
        places.retain(|_, place| place.strong_count() > 0);
        let place = Arc::new(Place { turn: Arc::default(), events: broadcast::channel(64).0 });
        places.insert(*digest, Arc::downgrade(&place));
        place
    }

    /// Waits for the turn at `digest`; `meanwhile` hears what the one that has it tells.
    pub(super) async fn take(&self, digest: &Digest, meanwhile: impl Fn(E)) -> Turn<E> {
        let place = self.place(digest);
        let mut heard = place.events.subscribe();
        let lock = Arc::clone(&place.turn).lock_owned();
        tokio::pin!(lock);
        loop {
            tokio::select! {
                biased;
                turn = &mut lock => return Turn { _turn: turn, place },
                event = heard.recv() => match event {
                    Ok(event) => meanwhile(event),
                    // Too slow to hear everything: progress is only news, the newest counts.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Turn { _turn: lock.await, place },
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_hears_of_the_first_and_is_next() {
        let turns = Arc::new(Turns::<u8>::default());
        let digest = Digest::of(b"x");
        let first = turns.take(&digest, |_| ()).await;
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let others = Arc::clone(&turns);
        let second = tokio::spawn(async move { others.take(&digest, move |e| tell.send(e).unwrap()).await });
        while first.events().receiver_count() < 1 {
            tokio::task::yield_now().await;
        }
        first.events().send(7).unwrap();
        assert_eq!(told.recv().await, Some(7));
        drop(first);
        drop(second.await.unwrap());
        turns.take(&Digest::of(b"y"), |_| ()).await;
        assert_eq!(turns.places().len(), 1, "places that nobody wants are forgotten");
    }
}
