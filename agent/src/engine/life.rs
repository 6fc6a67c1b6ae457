//! What is done with a task next, as a pure function: no clock, no descriptor, no await.
//!
//! ```text
//!            Stop: LeaveQueue                Stop: Cancel ─────────┐
//!  Waiting ───────────────► Ended   Preparing ──► Stopping ◄───────┘  (what is under way comes to its end)
//!     │ Admitted: Prepare      ▲        │ Prepared: Launch   │ Prepared | PrepareFailed: Undo
//!     │ Refused: End ──────────┤        │ PrepareFailed: Undo│
//!     └──► Preparing           │        ▼                    ▼
//!                              │    Supervised ─LaunchFailed► Undoing
//!        Swept: Release, End   │   │   │ ShimEnded: Record, Collect   │ Undone: Release, End
//!            Sweeping ─────────┤   │   └► Collecting ─ShimGone: Release, End ► Ended
//!               ▲              │   │                                 │
//!               └──ShimGone: Sweep─┘◄────────────────────────────────┘
//! ```
//!
//! In words: resources are given back only after everything of the task is gone; a task that had a shim ends by what
//! its shim or the sweep wrote down, any other by a reason of ours; a stop is never lost, and never ends anything twice.

use crate::store::StopWish;
use std::fmt;

/// Where the agent is with a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Until what it needs is free.
    Waiting,
    /// Images, records, bundles.
    Preparing,
    /// As before, but it is not to run any more.
    Stopping {
        /// Why.
        reason: String,
    },
    /// Its shim decides; the agent listens and passes on wishes.
    Supervised,
    /// It has ended and that is on record; its shim is going.
    Collecting,
    /// Its shim is dead: what it left is being removed.
    Sweeping,
    /// It never had a shim: what was prepared is being removed.
    Undoing {
        /// Why.
        reason: String,
    },
    /// Nothing of it is left but its records.
    Ended,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It has what it needs.
    Admitted,
    /// It can never have it.
    Refused(String),
    /// It is to stop.
    Stop(StopWish),
    /// Everything its shim needs is on disk.
    Prepared,
    /// That could not be done.
    PrepareFailed(String),
    /// The shim could not be started.
    LaunchFailed(String),
    /// Its shim says: ended, everything torn down.
    ShimEnded,
    /// Its shim's process is gone.
    ShimGone,
    /// What a dead shim left has been removed, and how the task ended is on record.
    Swept,
    /// That could not be done.
    SweepFailed,
    /// What was prepared has been removed.
    Undone,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Give up the place in the queue for resources.
    LeaveQueue,
    /// Pull images, write records and bundles.
    Prepare,
    /// Break that off as soon as may be.
    Cancel,
    /// Start the shim.
    Launch,
    /// Pass the wish to the shim.
    SendStop(StopWish),
    /// Write down how it ended, as its shim tells it.
    Record,
    /// Let the shim go.
    Collect,
    /// Remove what a dead shim left.
    Sweep,
    /// The same, after a while.
    SweepLater,
    /// Remove what was prepared.
    Undo,
    /// Give its resources back.
    Release,
    /// Write down that it ended for this reason; it never had a shim.
    EndWithout(String),
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Preparing => "preparing",
            Self::Stopping { .. } | Self::Undoing { .. } => "undoing",
            Self::Supervised => "supervised",
            Self::Collecting => "collecting",
            Self::Sweeping => "sweeping",
            Self::Ended => "ended",
        })
    }
}

impl Life {
    /// Takes an event and says what is to be done. An event that cannot be in this state changes nothing.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        let (next, actions) = match (&*self, event) {
            (Self::Waiting, Event::Admitted) => (Self::Preparing, vec![Action::Prepare]),
            (Self::Waiting, Event::Refused(reason)) => (Self::Ended, vec![Action::EndWithout(reason)]),
            (Self::Waiting, Event::Stop(wish)) => {
                (Self::Ended, vec![Action::LeaveQueue, Action::EndWithout(wish.reason)])
            }

            (Self::Preparing, Event::Prepared) => (Self::Supervised, vec![Action::Launch]),
            (Self::Preparing, Event::PrepareFailed(reason)) => (Self::Undoing { reason }, vec![Action::Undo]),
            (Self::Preparing, Event::Stop(wish)) => (Self::Stopping { reason: wish.reason }, vec![Action::Cancel]),

            (Self::Stopping { reason }, Event::Prepared | Event::PrepareFailed(_)) => {
                (Self::Undoing { reason: reason.clone() }, vec![Action::Undo])
            }

            (Self::Supervised, Event::LaunchFailed(reason)) => (Self::Undoing { reason }, vec![Action::Undo]),
            (Self::Supervised, Event::Stop(wish)) => (Self::Supervised, vec![Action::SendStop(wish)]),
            (Self::Supervised, Event::ShimEnded) => (Self::Collecting, vec![Action::Record, Action::Collect]),
            (Self::Supervised, Event::ShimGone) => (Self::Sweeping, vec![Action::Sweep]),

            (Self::Collecting, Event::ShimGone) => (Self::Ended, vec![Action::Release]),

            (Self::Sweeping, Event::Swept) => (Self::Ended, vec![Action::Record, Action::Release]),
            (Self::Sweeping, Event::SweepFailed) => (Self::Sweeping, vec![Action::SweepLater]),

            (Self::Undoing { reason }, Event::Undone) => {
                (Self::Ended, vec![Action::Release, Action::EndWithout(reason.clone())])
            }
            (_, _) => return Vec::new(),
        };
        *self = next;
        actions
    }

    /// Nothing will happen to it any more.
    pub fn is_ended(&self) -> bool {
        *self == Self::Ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wish(reason: &str) -> StopWish {
        StopWish { generation: 1, timeout_ms: None, reason: reason.into() }
    }

    #[test]
    fn a_task_that_is_stopped_while_it_waits_takes_nothing() {
        let mut life = Life::Waiting;
        let actions = life.step(Event::Stop(wish("enough")));
        assert_eq!(actions, [Action::LeaveQueue, Action::EndWithout("enough".into())]);
        assert!(life.is_ended() && life.step(Event::Admitted).is_empty());
    }

    #[test]
    fn a_task_that_is_stopped_while_it_is_prepared_is_never_launched() {
        let mut life = Life::Preparing;
        assert_eq!(life.step(Event::Stop(wish("enough"))), [Action::Cancel]);
        assert_eq!(life.step(Event::Prepared), [Action::Undo]);
        assert_eq!(life.step(Event::Undone), [Action::Release, Action::EndWithout("enough".into())]);
    }

    #[test]
    fn resources_are_given_back_when_the_shim_is_gone_and_not_before() {
        let mut life = Life::Supervised;
        assert_eq!(life.step(Event::ShimEnded), [Action::Record, Action::Collect]);
        assert_eq!(life.step(Event::ShimGone), [Action::Release]);
        assert!(life.is_ended());
    }

    #[test]
    fn a_dead_shim_is_swept_until_that_succeeds() {
        let mut life = Life::Supervised;
        assert_eq!(life.step(Event::ShimGone), [Action::Sweep]);
        assert_eq!(life.step(Event::SweepFailed), [Action::SweepLater]);
        assert_eq!(life.step(Event::Swept), [Action::Record, Action::Release]);
    }

    /// What the world can answer to the actions that are under way.
    #[derive(Default)]
    struct World {
        admitting: bool,
        preparing: bool,
        shim: bool,
        sweeping: bool,
        undoing: bool,
        holds: bool,
        told: usize,
        released: usize,
        launched: usize,
        stopped: bool,
    }

    impl World {
        fn possible(&self) -> Vec<Event> {
            let mut events = vec![Event::Stop(wish("s"))];
            let mut add = |on: bool, list: &[Event]| {
                if on {
                    events.extend_from_slice(list)
                }
            };
            add(self.admitting, &[Event::Admitted, Event::Refused("r".into())]);
            add(self.preparing, &[Event::Prepared, Event::PrepareFailed("p".into())]);
            add(self.shim && self.told == 0, &[Event::ShimEnded, Event::LaunchFailed("l".into())]);
            add(self.shim, &[Event::ShimGone]);
            add(self.sweeping, &[Event::Swept, Event::SweepFailed]);
            add(self.undoing, &[Event::Undone]);
            events
        }

        fn before(&mut self, event: &Event) {
            match event {
                Event::Admitted => (self.admitting, self.holds) = (false, true),
                Event::Refused(_) => self.admitting = false,
                Event::Prepared | Event::PrepareFailed(_) => self.preparing = false,
                Event::ShimGone | Event::LaunchFailed(_) => self.shim = false,
                Event::Swept | Event::SweepFailed => self.sweeping = false,
                Event::Undone => self.undoing = false,
                Event::Stop(_) => self.stopped = true,
                Event::ShimEnded => {}
            }
        }

        fn carry_out(&mut self, action: &Action) {
            match action {
                Action::LeaveQueue => self.admitting = false,
                Action::Prepare => self.preparing = true,
                Action::Launch => (self.launched, self.shim) = (self.launched + 1, true),
                Action::Sweep | Action::SweepLater => self.sweeping = true,
                Action::Undo => self.undoing = true,
                Action::Release => {
                    assert!(self.holds && !self.shim && !self.sweeping && !self.undoing && !self.preparing);
                    (self.holds, self.released) = (false, self.released + 1);
                }
                Action::Record | Action::EndWithout(_) => self.told += 1,
                Action::Cancel | Action::Collect => {}
                Action::SendStop(_) => assert!(self.shim),
            }
        }
    }

    proptest! {
        #[test]
        fn every_life_ends_once_gives_back_what_it_took_and_launches_at_most_once(
            choices in prop::collection::vec(any::<prop::sample::Index>(), 1..40)
        ) {
            let mut life = Life::Waiting;
            let mut world = World { admitting: true, ..World::default() };
            for choice in choices {
                if life.is_ended() {
                    break;
                }
                let event = choice.get(&world.possible()).clone();
                let stopped_before_launch = world.stopped && world.launched == 0;
                world.before(&event);
                for action in life.step(event) {
                    world.carry_out(&action);
                    prop_assert!(!(stopped_before_launch && action == Action::Launch), "launched after a stop");
                }
                let busy = world.admitting || world.preparing || world.shim || world.sweeping || world.undoing;
                prop_assert!(busy || life.is_ended(), "nothing is under way and {life:?} is no end");
            }
            if life.is_ended() {
                prop_assert_eq!(world.told, 1, "the end is told once");
                prop_assert!(!world.holds && world.released <= 1 && world.launched <= 1);
            }
        }
    }
}
