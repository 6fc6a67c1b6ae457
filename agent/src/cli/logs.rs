//! `berth logs`: what the containers of a task wrote.
//!
//! The agent reads the shim's files and may be restarted while they are followed: the stream is then asked for again
//! from the last line that was printed, and lines that come twice are dropped by their time.

use super::Context;
use super::client::{Patience, escape};
use super::failure::Failure;
use super::{tasks, terminal};
use crate::api::types::{LogLine, TaskStatus, TaskView};
use http::Method;
use jiff::Timestamp;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::Write;
use std::process::ExitCode;

/// Flags of `berth logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// Id, unique start of an id, or name
    task: String,
    /// Go on until the task has stopped
    #[arg(short, long)]
    follow: bool,
    /// Begin with the last N lines
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<u64>,
    /// Begin at this time (2026-01-31T08:00:00Z), or this long ago (90s, 5m, 2h)
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Timestamp>,
    /// Only this container's
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Put its time before each line
    #[arg(short, long)]
    timestamps: bool,
    /// Print JSON, an object a line
    #[arg(long)]
    json: bool,
}

fn parse_since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let problem = || "neither a time such as 2026-01-31T08:00:00Z nor an age such as 5m".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| problem())?;
    Timestamp::now().checked_sub(span.abs()).map_err(|_| problem())
}

/// Prints the output of a task.
pub(crate) async fn run(context: &Context, args: &LogsArgs) -> Result<ExitCode, Failure> {
    let task: TaskView = context.client.get(&tasks::path(&args.task)).await?;
    if let Some(name) = &args.container
        && !task.containers.iter().any(|c| &c.name == name)
    {
        let names: Vec<_> = task.containers.iter().map(|c| c.name.as_str()).collect();
        return Err(Failure::new(format!("task `{}` has no container `{name}`", task.name))
            .hint(format!("it has {}", names.join(", "))));
    }
    let style = Style {
        timestamps: args.timestamps,
        names: args.container.is_none() && task.containers.len() > 1,
        json: args.json,
    };
    let from = From { container: args.container.clone(), tail: args.tail, since: args.since };
    stream(context, &task.id, from, args.follow, Printer::new(style)).await?;
    Ok(ExitCode::SUCCESS)
}

/// Which lines are asked for.
#[derive(Debug, Default)]
pub(crate) struct From {
    /// Of this container only.
    pub(crate) container: Option<String>,
    /// The last so many.
    pub(crate) tail: Option<u64>,
    /// Written at this time or later.
    pub(crate) since: Option<Timestamp>,
}

impl From {
    fn path(&self, task: &str, follow: bool) -> String {
        let mut query = Vec::new();
        if let Some(name) = &self.container {
            query.push(format!("container={}", escape(name)));
        }
        if follow {
            query.push("follow=true".to_owned());
        }
        if let Some(tail) = self.tail {
            query.push(format!("tail={tail}"));
        }
        if let Some(since) = self.since {
            query.push(format!("since={}", since.as_millisecond()));
        }
        let separator = if query.is_empty() { "" } else { "?" };
        format!("{}/logs{separator}{}", tasks::path(task), query.join("&"))
    }
}

/// Prints lines until there are no more; with `follow`, until the task has stopped.
pub(crate) async fn stream(
    context: &Context,
    task: &str,
    mut from: From,
    follow: bool,
    mut printer: Printer,
) -> Result<(), Failure> {
    let mut patience = Patience::new();
    loop {
        match stream_once(context, &from.path(task, follow), &mut printer, &mut patience).await {
            Ok(()) if !follow => return Ok(()),
            Ok(()) => {
                // An agent that stops ends its streams as cleanly as a task that does.
                let now: TaskView = context.client.get_patiently(&tasks::path(task)).await?;
                if now.status == TaskStatus::Stopped {
                    return Ok(());
                }
                patience.wait(Failure::new("follow the log: the agent ends it again and again")).await?;
            }
            Err(failure) if follow && failure.is_lost() && printer.began => patience.wait(failure).await?,
            Err(failure) => return Err(failure),
        }
        if let Some(last) = printer.newest() {
            from.tail = None;
            from.since = Some(last);
            printer.resume();
        }
    }
}

async fn stream_once(
    context: &Context,
    path: &str,
    printer: &mut Printer,
    patience: &mut Patience,
) -> Result<(), Failure> {
    let mut lines = context.client.lines(Method::GET, path, None::<&()>).await?;
    printer.began = true;
    while let Some(line) = lines.next::<LogLine>().await? {
        patience.renew();
        printer.print(&line)?;
    }
    Ok(())
}

/// How lines are shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    /// With their times.
    pub(crate) timestamps: bool,
    /// With their containers' names.
    pub(crate) names: bool,
    /// As JSON, on standard output whatever the stream.
    pub(crate) json: bool,
}

/// Shows lines, each on the stream that it was written to.
#[derive(Debug)]
pub(crate) struct Printer {
    style: Style,
    began: bool,
    /// Per container the time of its last line, and how many lines had that time.
    last: HashMap<String, (Timestamp, u64)>,
    /// The same as it was when the stream was asked for again, until the container is past it.
    again: HashMap<String, (Timestamp, u64)>,
    /// Streams in the middle of a line that came in parts: what follows gets no prefix.
    open: HashMap<(String, String), bool>,
}

impl Printer {
    /// Shows lines in `style`.
    pub(crate) fn new(style: Style) -> Self {
        Self { style, began: false, last: HashMap::new(), again: HashMap::new(), open: HashMap::new() }
    }

    /// The latest time before which everything has been printed.
    fn newest(&self) -> Option<Timestamp> {
        self.last.values().map(|(time, _)| *time).min()
    }

    fn print(&mut self, line: &LogLine) -> Result<(), Failure> {
        if self.seen(line) {
            return Ok(());
        }
        if self.style.json {
            return terminal::print_json_line(line);
        }
        let text = self.format(line);
        if line.stream == "stderr" {
            let mut err = std::io::stderr().lock();
            Ok(err.write_all(text.as_bytes())?)
        } else {
            terminal::print(&text)
        }
    }

    /// The stream is asked for again: what has been printed will come once more.
    fn resume(&mut self) {
        self.again = self.last.clone();
    }

    /// Whether the line was printed before the stream was asked for again.
    fn seen(&mut self, line: &LogLine) -> bool {
        let Ok(time) = line.time.parse::<Timestamp>() else { return false };
        if let Some((last, times)) = self.again.get_mut(&line.container) {
            match time.cmp(last) {
                Ordering::Less => return true,
                // Lines that were written together have one time.
                Ordering::Equal if *times > 0 => {
                    *times -= 1;
                    return true;
                }
                Ordering::Equal | Ordering::Greater => {}
            }
            self.again.remove(&line.container);
        }
        let (last, times) = self.last.entry(line.container.clone()).or_insert((time, 0));
        *times = if *last == time { *times + 1 } else { 1 };
        *last = time;
        false
    }

    fn format(&mut self, line: &LogLine) -> String {
        let open = self.open.entry((line.container.clone(), line.stream.clone())).or_default();
        let mut text = String::new();
        if !*open {
            if self.style.timestamps {
                text.push_str(&line.time);
                text.push(' ');
            }
            if self.style.names {
                text.push_str(&line.container);
                text.push_str(" | ");
            }
        }
        *open = !line.log.ends_with('\n');
        text.push_str(&line.log);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(container: &str, nanos: u32, log: &str) -> LogLine {
        LogLine {
            container: container.into(),
            stream: "stdout".into(),
            time: format!("2026-01-31T08:00:00.{nanos:09}Z"),
            log: log.into(),
        }
    }

    #[test]
    fn a_line_in_parts_gets_one_prefix() {
        let mut printer = Printer::new(Style { names: true, ..Style::default() });
        assert_eq!(printer.format(&line("web", 1, "half ")), "web | half ");
        assert_eq!(printer.format(&line("web", 2, "and half\n")), "and half\n");
        assert_eq!(printer.format(&line("web", 3, "next\n")), "web | next\n");
    }

    #[test]
    fn lines_that_come_twice_after_a_restart_are_printed_once() {
        let mut printer = Printer::new(Style::default());
        let lines =
            [line("a", 5, "1\n"), line("a", 5, "2\n"), line("b", 2, "1\n"), line("a", 7, "3\n"), line("a", 7, "4\n")];
        for fresh in &lines {
            assert!(!printer.seen(fresh), "{fresh:?}");
        }
        assert_eq!(printer.newest(), Some("2026-01-31T08:00:00.000000002Z".parse().unwrap()));
        printer.resume();
        for old in &lines {
            assert!(printer.seen(old), "{old:?}");
        }
        for fresh in [line("a", 7, "5\n"), line("a", 8, "6\n"), line("b", 3, "2\n")] {
            assert!(!printer.seen(&fresh), "{fresh:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_escaped() {
        let from = From { container: Some("a b".into()), tail: Some(3), since: Some(Timestamp::UNIX_EPOCH) };
        assert_eq!(from.path("x", true), "/v1/tasks/x/logs?container=a%20b&follow=true&tail=3&since=0");
        assert_eq!(From::default().path("x", false), "/v1/tasks/x/logs");
    }

    #[test]
    fn since_is_a_time_or_an_age() {
        assert!(parse_since("2026-01-31T08:00:00Z").is_ok());
        let ago = Timestamp::now().duration_since(parse_since("5m").unwrap());
        assert!((299..=301).contains(&ago.as_secs()), "{ago:?}");
        assert!(parse_since("yesterday").is_err());
    }
}
