//! A connection to systemd's manager: its own socket, or the system bus where that one is not there.

use super::message::{self, Body, FIXED, Message, Property, Target};
use crate::errno::{OpContext, OpError};
use crate::interrupt::Interrupt;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where systemd listens for root, without a bus in between.
const PRIVATE: &str = "/run/systemd/private";
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
const MANAGER: &str = "org.freedesktop.systemd1";
/// The method that makes a unit.
const START: &str = "StartTransientUnit";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const BUS: Target<'_> = Target {
    destination: Some("org.freedesktop.DBus"),
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};
const JOBS: &str = "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
                    interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// How long systemd may take for a job, and for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often one who takes no calls is called again.
const AGAIN: Duration = Duration::from_millis(20);
/// The longest line of the handshake.
const MAX_LINE: usize = 1024;

/// An answer that says no.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {text}")]
struct Refusal {
    name: String,
    text: String,
}

/// The other end, which may be silent: no call of it lasts beyond the deadline.
#[derive(Debug)]
struct Peer<'a> {
    /// It does not block.
    stream: UnixStream,
    interrupt: Interrupt<'a>,
    patience: Duration,
    deadline: Instant,
}

impl<'a> Peer<'a> {
    fn new(stream: UnixStream, interrupt: Interrupt<'a>, patience: Duration) -> Self {
        Self { stream, interrupt, patience, deadline: Instant::now() + patience }
    }

    fn connect(path: &str, interrupt: Interrupt<'a>, patience: Duration) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let peer = Self::new(socket(AddressFamily::Unix, SockType::Stream, flags, None)?.into(), interrupt, patience);
        let address = UnixAddr::new(path)?;
        loop {
            match connect(peer.stream.as_raw_fd(), &address) {
                // As many wait already as may, which can only be asked again.
                Err(nix::Error::EAGAIN) if Instant::now() < peer.deadline => {
                    interrupt.wait_until(None, Some(Instant::now() + AGAIN))?;
                }
                Err(nix::Error::EAGAIN) => return Err(peer.late()),
                other => return Ok(other.map(|()| peer)?),
            }
        }
    }

    /// Begins to wait for something else.
    fn be_patient(&mut self) {
        self.deadline = Instant::now() + self.patience;
    }

    fn late(&self) -> io::Error {
        io::Error::new(ErrorKind::TimedOut, format!("no answer within {:?}", self.patience))
    }

    fn wait(&self, events: PollFlags) -> io::Result<()> {
        let from = PollFd::new(self.stream.as_fd(), events);
        // One that never stops talking is late as well.
        match Instant::now() < self.deadline && self.interrupt.wait_until(Some(from), Some(self.deadline))? {
            true => Ok(()),
            false => Err(self.late()),
        }
    }
}

impl Read for Peer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.wait(PollFlags::POLLIN)?;
            match self.stream.read(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.wait(PollFlags::POLLOUT)?;
            match self.stream.write(bytes) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection to the manager.
#[derive(Debug)]
pub(super) struct Manager<'a> {
    stream: Peer<'a>,
    serial: u32,
    /// On a bus it has to be named.
    destination: Option<&'static str>,
    /// Its name on the bus, where every user of the machine may send signals.
    owner: String,
    /// Jobs that ended, with their results, since a call began to wait.
    ended: Vec<(String, String)>,
}

impl<'a> Manager<'a> {
    /// Connects and says who we are.
    pub(super) fn connect(interrupt: Interrupt<'a>) -> Result<Self, OpError> {
        let (stream, destination) = match Peer::connect(PRIVATE, interrupt, PATIENCE) {
            Ok(stream) => (stream, None),
            Err(first) => match Peer::connect(SYSTEM_BUS, interrupt, PATIENCE) {
                Ok(stream) => (stream, Some(MANAGER)),
                // The first is the one that matters on a host that runs systemd.
                Err(_) => {
                    return Err(first).op("connect to systemd, which --systemd-cgroup needs, at", Path::new(PRIVATE));
                }
            },
        };
        let mut manager = Self::on(stream, destination);
        manager.authenticate().op("authenticate to", "systemd")?;
        if destination.is_some() {
            manager.ask(&BUS, "Hello", &Body::default())?;
            let owner = manager.ask(&BUS, "GetNameOwner", &Body::default().text(MANAGER))?;
            manager.owner = owner.into_iter().next().unwrap_or_default();
            manager.ask(&BUS, "AddMatch", &Body::default().text(JOBS))?;
            manager.call("Subscribe", &Body::default())?;
        }
        Ok(manager)
    }

    fn on(stream: Peer<'a>, destination: Option<&'static str>) -> Self {
        Self { stream, serial: 0, destination, owner: String::new(), ended: Vec::new() }
    }

    /// SASL, mechanism EXTERNAL: the kernel says who is at this end, and we say the same.
    ///
    /// Both lines at once, and nothing after them before the answer: systemd 252 leaves a message lying that it reads
    /// together with `BEGIN`, until another one comes.
    fn authenticate(&mut self) -> io::Result<()> {
        let uid: String = nix::unistd::geteuid().to_string().bytes().map(|b| format!("{b:02x}")).collect();
        self.stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").as_bytes())?;
        let mut line = Vec::new();
        // Byte by byte: nothing after the line is the handshake's.
        while !line.ends_with(b"\r\n") && line.len() < MAX_LINE {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        if !line.starts_with(b"OK ") {
            let said = String::from_utf8_lossy(&line).trim_end().to_owned();
            return Err(io::Error::new(ErrorKind::PermissionDenied, said));
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Message> {
        let bad = |e| io::Error::new(ErrorKind::InvalidData, e);
        let mut bytes = vec![0; FIXED];
        self.stream.read_exact(&mut bytes)?;
        bytes.resize(message::length(&bytes).map_err(bad)?, 0);
        self.stream.read_exact(&mut bytes[FIXED..])?;
        message::parse(&bytes).map_err(bad)
    }

    /// Receives a message, and keeps it when the manager tells of a job's end by it.
    fn hear(&mut self) -> io::Result<Message> {
        let message = self.receive()?;
        if let Message::Signal(sender, name, texts) = &message
            && name == "JobRemoved"
            && (self.destination.is_none() || *sender == self.owner)
            && let [job, _, result, ..] = texts.as_slice()
        {
            self.ended.push((job.clone(), result.clone()));
        }
        Ok(message)
    }

    fn ask(&mut self, target: &Target<'_>, member: &'static str, body: &Body) -> Result<Vec<String>, OpError> {
        self.serial += 1;
        self.stream.be_patient();
        self.stream.write_all(&message::call(self.serial, target, member, body)).op("ask systemd for", member)?;
        loop {
            match self.hear().op("hear from systemd about", member)? {
                Message::Reply(serial, texts) if serial == self.serial => return Ok(texts),
                Message::Error(serial, name, text) if serial == self.serial => {
                    return Err(OpError::new("ask systemd for", member, io::Error::other(Refusal { name, text })));
                }
                _ => {}
            }
        }
    }

    fn call(&mut self, member: &'static str, body: &Body) -> Result<Vec<String>, OpError> {
        let target = Target { destination: self.destination, path: MANAGER_PATH, interface: MANAGER_INTERFACE };
        self.ask(&target, member, body)
    }

    /// Calls for a job and waits until it is done.
    fn job(&mut self, member: &'static str, unit: &str, body: &Body) -> Result<(), OpError> {
        self.ended.clear();
        let job = self.call(member, body)?.into_iter().next().unwrap_or_default();
        self.stream.be_patient();
        let ended = self.job_end(member, unit, &job);
        if ended.is_err() && member == START {
            // It goes on without us, and the unit is ours. A slice has no process with which it would end.
            let _ = self.call("StopUnit", &Body::default().text(unit).text("replace"));
        }
        ended
    }

    fn job_end(&mut self, member: &'static str, unit: &str, job: &str) -> Result<(), OpError> {
        loop {
            if let Some((_, result)) = self.ended.iter().find(|(ended, _)| ended == job) {
                return match result.as_str() {
                    "done" => Ok(()),
                    other => {
                        let why = format!("the job of {member} ended with result `{other}`");
                        Err(io::Error::other(why)).op("have systemd manage", unit)
                    }
                };
            }
            self.hear().op("wait for the end of systemd's job for", unit)?;
        }
    }

    /// Starts a unit that exists as long as something is in it.
    pub(super) fn start(&mut self, unit: &str, properties: &[Property]) -> Result<(), OpError> {
        let body = Body::default().text(unit).text("replace").properties(properties).no_units();
        match self.job(START, unit, &body) {
            // One of the same name that has failed is still remembered.
            Err(e) if is(&e, "UnitExists") => {
                let _ = self.forget(unit);
                self.job(START, unit, &body)
            }
            other => other,
        }
    }

    /// Stops a unit. One that is not there is no error.
    pub(super) fn stop(&mut self, unit: &str) -> Result<(), OpError> {
        let stopped = match self.job("StopUnit", unit, &Body::default().text(unit).text("replace")) {
            Err(e) if is(&e, "NoSuchUnit") => return Ok(()),
            other => other,
        };
        let _ = self.forget(unit);
        stopped
    }

    /// Lets systemd forget that a unit has failed.
    fn forget(&mut self, unit: &str) -> Result<(), OpError> {
        self.call("ResetFailedUnit", &Body::default().text(unit)).map(drop)
    }

    /// Changes properties of a unit until it goes.
    pub(super) fn set(&mut self, unit: &str, properties: &[Property]) -> Result<(), OpError> {
        let body = Body::default().text(unit).bool(true).properties(properties);
        self.call("SetUnitProperties", &body).map(drop)
    }
}

/// The answer was this error of the manager's.
fn is(e: &OpError, name: &str) -> bool {
    let refusal = e.source.get_ref().and_then(|source| source.downcast_ref::<Refusal>());
    refusal.is_some_and(|r| r.name.strip_prefix(MANAGER).and_then(|n| n.strip_prefix('.')) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::chain;

    fn silent() -> (Manager<'static>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let peer = Peer::new(ours, Interrupt::default(), Duration::from_millis(50));
        (Manager::on(peer, None), theirs)
    }

    #[test]
    fn of_one_who_does_not_answer_it_is_said_for_how_long_and_about_what() {
        let (mut manager, _theirs) = silent();
        assert_eq!(manager.authenticate().unwrap_err().to_string(), "no answer within 50ms");
        let said = chain(&manager.set("a.scope", &[]).unwrap_err());
        assert_eq!(said, "hear from systemd about `SetUnitProperties`: no answer within 50ms");
    }

    #[test]
    fn of_one_who_does_not_listen_too() {
        let (mut manager, _theirs) = silent();
        let unit = "a".repeat(4 << 20);
        let error = manager.stop(&unit).unwrap_err();
        assert_eq!((error.op, error.source.kind()), ("ask systemd for", ErrorKind::TimedOut));
    }

    #[test]
    fn one_who_takes_no_calls_is_not_waited_for_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("private");
        let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        nix::sys::socket::bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let connect = || Peer::connect(path.to_str().unwrap(), Interrupt::default(), Duration::from_millis(50));
        let first = connect().unwrap();
        assert_eq!(connect().unwrap_err().kind(), ErrorKind::TimedOut);
        drop(first);
    }
}
