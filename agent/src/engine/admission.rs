//! The queue for resources: who waits, and who is next when something is given back.
//!
//! One lock over the book and the queue, held for as long as a look at all waiting tasks takes; never across an await.
//! Every waiting task is considered at each release, in the order they came, so that one that does not fit holds up
//! nobody behind it. What it waits for is told at each look.

use super::Shortage;
use crate::capacity::{Book, Denied, Grant, Need, PortNeed};
use berth_runtime::net::plan::Transport;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Binds a port so that nobody else gets it.
pub type Hold = Arc<dyn Fn(Transport, u16) -> io::Result<OwnedFd> + Send + Sync>;

/// What a task in the queue is told.
#[derive(Debug)]
pub(super) enum Answer {
    /// It has what it needs. The sockets hold its ports, in the order of the grant.
    Granted(Grant, Vec<OwnedFd>),
    /// What it waits for.
    Waits(String),
    /// It will never have it.
    Never {
        /// The field at fault.
        field: String,
        /// What is wrong.
        problem: String,
    },
}

struct Waiting {
    task: String,
    need: Need,
    answers: mpsc::UnboundedSender<Answer>,
    told: String,
}

struct Queue {
    book: Book,
    waiting: Vec<Waiting>,
}

/// Shared by all tasks of the node.
#[derive(Clone)]
pub(super) struct Admission {
    queue: Arc<Mutex<Queue>>,
    hold: Hold,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

/// A place in the queue; dropping it gives the place up.
#[derive(Debug)]
pub(super) struct Ticket {
    admission: Admission,
    task: String,
    answers: mpsc::UnboundedReceiver<Answer>,
}

impl Ticket {
    /// The next thing to know. After `Granted` or `Never` there is nothing more.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        self.answers.recv().await
    }

    /// What is known already.
    pub(super) fn answer_now(&mut self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.admission.lock().waiting.retain(|w| w.task != self.task);
        // Granted in the same moment: nobody will ever use it.
        while let Some(answer) = self.answer_now() {
            if let Answer::Granted(..) = answer {
                self.admission.release(&self.task);
            }
        }
    }
}

impl Admission {
    /// Nobody waits. `book` holds already what running tasks have.
    pub(super) fn new(book: Book, hold: Hold) -> Self {
        Self { queue: Arc::new(Mutex::new(Queue { book, waiting: Vec::new() })), hold }
    }

    /// Asks for resources. The first answer is there at once.
    pub(super) fn request(&self, task: &str, need: Need) -> Ticket {
        let (answers, receiver) = mpsc::unbounded_channel();
        let ticket = Ticket { admission: self.clone(), task: task.to_owned(), answers: receiver };
        let mut queue = self.lock();
        queue.waiting.push(Waiting { task: task.to_owned(), need, answers, told: String::new() });
        self.look(&mut queue);
        ticket
    }

    /// Notes what a task holds already, as after a restart.
    pub(super) fn restore(&self, task: &str, grant: Grant) {
        self.lock().book.restore(task, grant);
    }

    /// Gives back what a task holds, and looks who can have it.
    pub(super) fn release(&self, task: &str) {
        let mut queue = self.lock();
        if queue.book.release(task) {
            self.look(&mut queue);
        }
    }

    /// Looks again: a port that a program outside of our control has let go is nothing we are told of.
    pub(super) fn look_again(&self) {
        self.look(&mut self.lock());
    }

    /// Whether the node has as much as `need` at all, and its named ports now.
    pub(super) fn could_admit(&self, need: Need) -> Result<(), Shortage> {
        const NOBODY: &str = "(asks only)";
        let never = |denied| match denied {
            Denied::Never { field, problem } => Err(Shortage { field, problem }),
            Denied::Wait(_) => Ok(()),
        };
        let named: Vec<PortNeed> = need.ports.iter().filter(|p| p.host_port.is_some()).copied().collect();
        let ask = |need: &Need| {
            let book = &mut self.lock().book;
            let asked = book.admit(NOBODY, need, |transport, port| (self.hold)(transport, port));
            book.release(NOBODY);
            asked.map(|_| ())
        };
        ask(&Need { ports: Vec::new(), ..need }).or_else(never)?;
        for port in named {
            match ask(&Need { ports: vec![port], ..Need::default() }) {
                Err(Denied::Wait(_)) => {
                    let field = format!("containerDefinitions[{}].portMappings.hostPort", port.container);
                    let number = port.host_port.unwrap_or_default();
                    return Err(Shortage { field, problem: format!("{number} is in use by another task") });
                }
                asked => asked.or_else(never)?,
            }
        }
        Ok(())
    }

    /// Reads the book.
    pub(super) fn with_book<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        read(&self.lock().book)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    fn look(&self, queue: &mut Queue) {
        let Queue { book, waiting } = queue;
        waiting.retain_mut(|w| {
            let answer = match book.admit(&w.task, &w.need, |transport, port| (self.hold)(transport, port)) {
                Ok((grant, held)) => Answer::Granted(grant, held),
                Err(Denied::Never { field, problem }) => Answer::Never { field, problem },
                Err(Denied::Wait(what)) => {
                    if w.told != what {
                        w.told.clone_from(&what);
                        let _ = w.answers.send(Answer::Waits(what));
                    }
                    return true;
                }
            };
            if let Err(mpsc::error::SendError(Answer::Granted(..))) = w.answers.send(answer) {
                book.release(&w.task);
            }
            false
        });
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The book is a value that each method leaves whole: a panic elsewhere does not make it wrong.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::{Node, PortRange};
    use std::collections::BTreeSet;

    fn admission() -> Admission {
        let node = Node {
            cpu: 1000,
            memory: 1000,
            reserved_cpu: 0,
            reserved_memory: 0,
            reserved_tcp: BTreeSet::new(),
            reserved_udp: BTreeSet::new(),
            dynamic_ports: PortRange { first: 61000, last: 61001 },
            bridge: vec![],
            awsvpc: vec![],
        };
        Admission::new(Book::new(node), Arc::new(|_, _| Ok(tempfile::tempfile()?.into())))
    }

    fn need(cpu: u64) -> Need {
        Need { cpu, ..Need::default() }
    }

    fn granted(ticket: &mut Ticket) -> bool {
        matches!(ticket.answer_now(), Some(Answer::Granted(..)))
    }

    #[test]
    fn a_task_that_does_not_fit_holds_up_nobody_behind_it() {
        let admission = admission();
        assert!(granted(&mut admission.request("a", need(600))));
        let mut large = admission.request("large", need(500));
        assert!(matches!(large.answer_now(), Some(Answer::Waits(_))));
        assert!(granted(&mut admission.request("small", need(400))));
        admission.release("a");
        assert!(granted(&mut large));
    }

    #[test]
    fn those_who_wait_are_served_in_the_order_they_came() {
        let admission = admission();
        assert!(granted(&mut admission.request("a", need(1000))));
        let mut first = admission.request("first", need(700));
        let mut second = admission.request("second", need(700));
        first.answer_now();
        second.answer_now();
        admission.release("a");
        assert!(granted(&mut first));
        assert!(!granted(&mut second));
    }

    #[test]
    fn a_ticket_that_is_dropped_takes_nothing() {
        let admission = admission();
        drop(admission.request("a", need(1000)));
        assert_eq!(admission.with_book(Book::used_cpu), 0);
        assert!(granted(&mut admission.request("b", need(1000))));
        drop(admission.request("c", need(1)));
        assert_eq!(admission.waiting(), 0);
    }

    #[test]
    fn asking_holds_nothing_and_tells_what_will_never_be_had() {
        let admission = admission();
        assert!(granted(&mut admission.request("a", need(1000))));
        assert_eq!(admission.could_admit(need(1000)), Ok(()), "others hold it now, and will not for ever");
        let shortage = admission.could_admit(need(1001)).unwrap_err();
        assert_eq!(shortage.field, "cpu");
        assert_eq!(admission.with_book(|b| b.grants().len()), 1);
    }

    #[test]
    fn what_is_waited_for_is_told_once_until_it_changes() {
        let admission = admission();
        let _a = admission.request("a", need(600));
        let mut b = admission.request("b", need(900));
        assert!(matches!(b.answer_now(), Some(Answer::Waits(_))));
        admission.look_again();
        assert!(b.answer_now().is_none());
        assert_eq!(b.answers.sender_strong_count(), 1);
    }
}
