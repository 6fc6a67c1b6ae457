//! `GET /v1/tasks/REF/logs`: the shim's log files, as lines.
//!
//! The shim writes json-file lines (`{"log","stream","time"}`) and only ever appends. A reader begins at the last lines
//! that are asked for, and follows by looking again when the file has grown or the task has changed, until the task has
//! stopped and everything has been read. A line is taken when its newline is there.

use super::types::LogLine;
use crate::engine::{Status, TaskState};
use berth_runtime::id::{ContainerName, TaskId};
use berth_runtime::rundir::Dirs;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Between two looks at a file that is followed. The kernel's notification of changes is not used: one look at the size of
/// a file costs less than the descriptor that it needs, and a follower is a person.
const LOOK: Duration = Duration::from_millis(100);

/// The longest line that is taken; the shim splits before that.
const MAX_LINE: usize = 1 << 20;

/// What is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    pub(super) container: Option<String>,
    pub(super) follow: bool,
    pub(super) tail: Option<u64>,
    /// Milliseconds since the epoch.
    pub(super) since: Option<u64>,
}

#[derive(Deserialize)]
struct FileLine {
    log: String,
    stream: String,
    time: String,
}

/// One container's log file, read as it grows.
struct Reader {
    container: String,
    path: PathBuf,
    file: Option<File>,
    partial: Vec<u8>,
}

impl Reader {
    /// What has come since the last look, as whole lines.
    fn read(&mut self, out: &mut Vec<LogLine>) -> io::Result<()> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            self.partial.extend_from_slice(&buffer[..n]);
            let Some(end) = self.partial.iter().rposition(|b| *b == b'\n') else {
                if self.partial.len() > MAX_LINE {
                    self.partial.clear();
                }
                continue;
            };
            let rest = self.partial.split_off(end + 1);
            let whole = std::mem::replace(&mut self.partial, rest);
            out.extend(whole.split(|b| *b == b'\n').filter_map(|line| parse(&self.container, line)));
            if out.len() > 1000 {
                return Ok(());
            }
        }
    }

    /// Begins `lines` lines before the end.
    fn seek_tail(&mut self, lines: u64) -> io::Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        let at = tail_offset(&mut file, lines)?;
        file.seek(SeekFrom::Start(at))?;
        self.file = Some(file);
        Ok(())
    }
}

fn parse(container: &str, line: &[u8]) -> Option<LogLine> {
    // A line that was torn by a crash of the machine is left out.
    let FileLine { log, stream, time } = serde_json::from_slice(line).ok()?;
    Some(LogLine { container: container.to_owned(), stream, time, log })
}

/// Where the last `lines` whole lines of a file begin, read from its end in pieces.
fn tail_offset(file: &mut File, lines: u64) -> io::Result<u64> {
    const PIECE: u64 = 32 << 10;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut found = 0;
    // The newline at the very end closes the last line and begins none.
    let mut is_last = true;
    let mut buffer = vec![0; PIECE as usize];
    while end > 0 {
        let begin = end.saturating_sub(PIECE);
        let piece = &mut buffer[..(end - begin) as usize];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(piece)?;
        for (n, byte) in piece.iter().enumerate().rev() {
            if *byte == b'\n' && !std::mem::take(&mut is_last) {
                found += 1;
                if found == lines {
                    return Ok(begin + n as u64 + 1);
                }
            }
            is_last = false;
        }
        end = begin;
    }
    Ok(if lines == 0 { file.seek(SeekFrom::End(0))? } else { 0 })
}

/// The containers whose logs are asked for; `None` when the named one is none of the task's.
fn readers(dirs: &Dirs, state: &TaskState, query: &Query) -> Option<Vec<Reader>> {
    let task = TaskId::parse(&state.row.task.id).ok()?;
    let dirs = dirs.task(&task);
    let wanted = |name: &str| query.container.as_deref().is_none_or(|c| c == name);
    let readers: Vec<Reader> = state
        .row
        .task
        .containers
        .iter()
        .filter(|c| wanted(&c.name))
        .filter_map(|c| ContainerName::parse(&c.name).ok())
        .map(|name| Reader {
            container: name.as_str().to_owned(),
            path: dirs.container(&name).log(),
            file: None,
            partial: Vec::new(),
        })
        .collect();
    (!readers.is_empty() || query.container.is_none()).then_some(readers)
}

/// Lines of a task's containers, in the order of their times as far as they are there; `None` for an unknown container.
pub(super) fn stream(
    dirs: &Dirs,
    state: watch::Receiver<Arc<TaskState>>,
    query: Query,
) -> Option<mpsc::Receiver<io::Result<LogLine>>> {
    let readers = readers(dirs, &state.borrow(), &query)?;
    let (lines, receiver) = mpsc::channel(256);
    tokio::spawn(pump(readers, state, query, lines));
    Some(receiver)
}

async fn pump(
    mut readers: Vec<Reader>,
    mut state: watch::Receiver<Arc<TaskState>>,
    query: Query,
    lines: mpsc::Sender<io::Result<LogLine>>,
) {
    let since = query.since.map(rfc3339);
    let mut first = true;
    loop {
        // Looked at before the files are read: what was written before the end is there then.
        let stopped = state.borrow_and_update().status() == Status::Stopped;
        let tail = query.tail.filter(|_| first);
        first = false;
        let read = tokio::task::spawn_blocking(move || {
            let batch = read_all(&mut readers, tail);
            (readers, batch)
        });
        let Ok((back, batch)) = read.await else { return };
        readers = back;
        let batch = match batch {
            Ok(batch) => batch,
            Err(e) => return drop(lines.send(Err(e)).await),
        };
        let came = !batch.is_empty();
        for line in batch {
            // Times are RFC 3339 in UTC with as many digits: their order is that of their text.
            if since.as_ref().is_some_and(|since| line.time < *since) {
                continue;
            }
            if lines.send(Ok(line)).await.is_err() {
                return;
            }
        }
        if came {
            continue;
        }
        if stopped || !query.follow {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            changed = state.changed() => if changed.is_err() { return },
            () = lines.closed() => return,
        }
    }
}

fn read_all(readers: &mut [Reader], tail: Option<u64>) -> io::Result<Vec<LogLine>> {
    let mut batch = Vec::new();
    for reader in readers.iter_mut() {
        if let Some(tail) = tail {
            reader.seek_tail(tail)?;
        }
        reader.read(&mut batch)?;
    }
    if readers.len() > 1 {
        batch.sort_by(|a, b| a.time.cmp(&b.time));
        if let Some(tail) = tail {
            let more = batch.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX));
            batch.drain(..more);
        }
    }
    Ok(batch)
}

/// A time as the shim writes it.
fn rfc3339(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.9}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn write(path: &Path, lines: &[(&str, &str)]) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        for (time, text) in lines {
            let line = serde_json::json!({ "log": format!("{text}\n"), "stream": "stdout", "time": time });
            writeln!(file, "{line}").unwrap();
        }
    }

    fn reader(path: &Path) -> Reader {
        Reader { container: "app".into(), path: path.to_owned(), file: None, partial: Vec::new() }
    }

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|l| l.log.trim_end()).collect()
    }

    #[test]
    fn a_file_is_read_as_it_grows_and_half_a_line_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut reader = reader(&path);
        let mut out = Vec::new();
        reader.read(&mut out).unwrap();
        assert!(out.is_empty(), "no file yet");
        write(&path, &[("t1", "a"), ("t2", "b")]);
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut f| io::Write::write_all(&mut f, br#"{"log":"c\n","stream":"#))
            .unwrap();
        reader.read(&mut out).unwrap();
        assert_eq!(texts(&out), ["a", "b"]);
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut f| io::Write::write_all(&mut f, b"\"stderr\",\"time\":\"t3\"}\n"))
            .unwrap();
        out.clear();
        reader.read(&mut out).unwrap();
        assert_eq!((texts(&out), out[0].stream.as_str()), (vec!["c"], "stderr"));
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let all: Vec<String> = (0..5000).map(|n| format!("line {n:050}")).collect();
        write(&path, &all.iter().map(|l| ("t", l.as_str())).collect::<Vec<_>>());
        for tail in [0, 1, 700, 5000, 9999] {
            let mut reader = reader(&path);
            reader.seek_tail(tail).unwrap();
            let mut out = Vec::new();
            while {
                let before = out.len();
                reader.read(&mut out).unwrap();
                out.len() > before
            } {}
            let wanted = all.len() - (tail as usize).min(all.len());
            assert_eq!(texts(&out), all[wanted..].iter().map(String::as_str).collect::<Vec<_>>(), "tail {tail}");
        }
    }

    #[test]
    fn times_are_written_as_the_shim_writes_them() {
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123000000Z");
    }
}
