//! Stopping every task of a node when no agent runs, as the end of the tasks' systemd unit and a shutdown do.
//!
//! Each shim is asked on its own socket, all side by side, so that the longest stop time-out decides and not their sum.

use super::failure::Failure;
use super::text;
use berth_runtime::errno::chain;
use berth_runtime::id::TaskId;
use berth_runtime::rundir::Dirs;
use berth_runtime::shim::client::{Client, ClientError};
use berth_runtime::shim::protocol::{FromShim, ToShim};
use berth_runtime::task::view::{Phase, TaskView};
use std::io;
use std::path::Path;

/// Asks every shim below the run directory to stop its task, and waits until each has, or its shim is gone.
pub(crate) fn stop_all(dirs: &Dirs, timeout_ms: Option<u64>, reason: &str) -> Result<(), Failure> {
    let tasks = living(dirs).map_err(|e| Failure::caused(format!("read `{}`", dirs.run_tasks().display()), &e))?;
    let failed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = tasks
            .iter()
            .map(|id| scope.spawn(move || (id, stop(&dirs.task(id).socket(), timeout_ms, reason))))
            .collect();
        let done = threads.into_iter().filter_map(|thread| thread.join().ok());
        done.filter_map(|(id, result)| Some(format!("{id}: {}", chain(&result.err()?)))).collect()
    });
    match failed.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(format!("stop {}: {first}", text::count(failed.len(), "task")))
            .hint("start the agent: it ends tasks whose shim does not answer")),
    }
}

/// Tasks with a run directory.
fn living(dirs: &Dirs) -> io::Result<Vec<TaskId>> {
    let entries = match std::fs::read_dir(dirs.run_tasks()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()));
    Ok(names.collect::<io::Result<Vec<_>>>()?.iter().filter_map(|name| TaskId::parse(name).ok()).collect())
}

fn stop(socket: &Path, timeout_ms: Option<u64>, reason: &str) -> Result<(), ClientError> {
    let mut client = match Client::connect(socket) {
        // Nobody lives there: what a dead shim left is the agent's to clean up.
        Err(ClientError::Connect { source, .. })
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
        {
            return Ok(());
        }
        client => client?,
    };
    let now = next_view(&mut client)?;
    let generation = now.map_or(1, |view| view.generation.saturating_add(1));
    client.send(&ToShim::Stop { generation, timeout_ms, reason: reason.to_owned() })?;
    // The shim hangs up some time after it has told the end, or at it.
    while let Some(view) = next_view(&mut client)? {
        if view.phase == Phase::Ended {
            return Ok(());
        }
    }
    Ok(())
}

/// The next view, or `None` when the shim is gone.
fn next_view(client: &mut Client) -> Result<Option<TaskView>, ClientError> {
    loop {
        match client.receive() {
            Ok(FromShim::View { view }) => return Ok(Some(view)),
            Ok(FromShim::Refused { message, code }) => return Err(ClientError::Refused { message, code }),
            Ok(_) => {}
            Err(ClientError::Closed) => return Ok(None),
            Err(ClientError::Stream { source }) if source.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(e) => return Err(e),
        }
    }
}
