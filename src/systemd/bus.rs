//! A connection to systemd's manager: its own socket, or the system bus where that one is not there.

use super::message::{self, Body, FIXED, Message, Property, Target};
use crate::errno::{OpContext, OpError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where systemd listens for root, without a bus in between.
const PRIVATE: &str = "/run/systemd/private";
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
const MANAGER: &str = "org.freedesktop.systemd1";
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
/// The longest line of the handshake.
const MAX_LINE: usize = 1024;

/// An answer that says no.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {text}")]
struct Refusal {
    name: String,
    text: String,
}

/// A connection to the manager.
#[derive(Debug)]
pub(super) struct Manager {
    stream: UnixStream,
    serial: u32,
    /// On a bus it has to be named.
    destination: Option<&'static str>,
    /// Its name on the bus, where every user of the machine may send signals.
    owner: String,
    /// Jobs that ended, with their results, since a call began to wait.
    ended: Vec<(String, String)>,
}

impl Manager {
    /// Connects and says who we are.
    pub(super) fn connect() -> Result<Self, OpError> {
        let (stream, destination) = match UnixStream::connect(PRIVATE) {
            Ok(stream) => (stream, None),
            Err(first) => match UnixStream::connect(SYSTEM_BUS) {
                Ok(stream) => (stream, Some(MANAGER)),
                // The first is the one that matters on a host that runs systemd.
                Err(_) => {
                    return Err(first).op("connect to systemd, which --systemd-cgroup needs, at", Path::new(PRIVATE));
                }
            },
        };
        stream.set_read_timeout(Some(PATIENCE)).op("wait for", "systemd")?;
        let mut manager = Self { stream, serial: 0, destination, owner: String::new(), ended: Vec::new() };
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
        self.stream.write_all(&message::call(self.serial, target, member, body)).op("ask systemd for", member)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if Instant::now() >= deadline {
                return Err(io::Error::from(ErrorKind::TimedOut)).op("hear from systemd about", member);
            }
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
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((_, result)) = self.ended.iter().find(|(ended, _)| *ended == job) {
                return match result.as_str() {
                    "done" => Ok(()),
                    other => {
                        let why = format!("the job of {member} ended with result `{other}`");
                        Err(io::Error::other(why)).op("have systemd manage", unit)
                    }
                };
            }
            if Instant::now() >= deadline {
                return Err(io::Error::from(ErrorKind::TimedOut)).op("have systemd manage", unit);
            }
            self.hear().op("hear from systemd about", unit)?;
        }
    }

    /// Starts a unit that exists as long as something is in it.
    pub(super) fn start(&mut self, unit: &str, properties: &[Property]) -> Result<(), OpError> {
        let body = Body::default().text(unit).text("replace").properties(properties).no_units();
        match self.job("StartTransientUnit", unit, &body) {
            // One of the same name that has failed is still remembered.
            Err(e) if is(&e, "UnitExists") => {
                let _ = self.forget(unit);
                self.job("StartTransientUnit", unit, &body)
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
