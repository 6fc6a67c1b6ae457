//! `ps`: the processes of a container by their pids on the host, as JSON or as the tables that ps(1) makes of /proc.
//!
//! What follows the container's id are options of ps(1). Nothing is executed for them: those that choose columns are
//! understood (`-f`, which is the default, `x`, `u`, `-o`), those that choose processes mean nothing here (`-e`, `a`),
//! and others are refused.

use super::args::{Args, UsageError};
use super::oci::CliError;
use super::out;
use crate::container::state::Table;
use crate::sys::procfs;
use crate::sys::time::{LocalTime, local};
use nix::unistd::{SysconfVar, sysconf};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const FULL: &[Column] = {
    use Column::*;
    &[User("UID"), Pid, Ppid, C, Start("STIME"), Tty(12), LongTime, Args("CMD")]
};
const SHORT: &[Column] = {
    use Column::*;
    &[Pid, Tty(12), LongTime, Comm("CMD")]
};
const BSD: &[Column] = {
    use Column::*;
    &[Pid, Tty(8), Stat, ShortTime, Args("COMMAND")]
};
const USERS: &[Column] = {
    use Column::*;
    &[User("USER"), Pid, Cpu, Mem, Vsz, Rss, Tty(8), Stat, Start("START"), ShortTime, Args("COMMAND")]
};

/// A column of a table. Text is its heading, a number its width, where they differ between tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    User(&'static str),
    Uid,
    Pid,
    Ppid,
    Pgid,
    Sid,
    C,
    Cpu,
    Mem,
    Vsz,
    Rss,
    Nice,
    Threads,
    Tty(usize),
    Stat,
    Start(&'static str),
    Elapsed,
    LongTime,
    ShortTime,
    Comm(&'static str),
    Args(&'static str),
}

impl Column {
    /// By the names that `-o` takes.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "user" | "euser" | "uname" => Self::User("USER"),
            "uid" | "euid" => Self::Uid,
            "pid" => Self::Pid,
            "ppid" => Self::Ppid,
            "pgid" | "pgrp" => Self::Pgid,
            "sid" | "sess" | "session" => Self::Sid,
            "c" => Self::C,
            "%cpu" | "pcpu" => Self::Cpu,
            "%mem" | "pmem" => Self::Mem,
            "vsz" | "vsize" => Self::Vsz,
            "rss" | "rssize" | "rsz" => Self::Rss,
            "ni" | "nice" => Self::Nice,
            "nlwp" | "thcount" => Self::Threads,
            "tty" | "tt" | "tname" => Self::Tty(8),
            "stat" | "s" | "state" => Self::Stat,
            "stime" | "start" | "start_time" => Self::Start("STIME"),
            "etime" => Self::Elapsed,
            "time" | "cputime" => Self::LongTime,
            "comm" | "ucmd" | "ucomm" => Self::Comm("COMMAND"),
            "args" | "cmd" | "command" => Self::Args("COMMAND"),
            _ => return None,
        })
    }

    /// Heading, width, and whether text stands at the left of it.
    fn form(self) -> (&'static str, usize, bool) {
        match self {
            Self::User(heading) => (heading, 8, true),
            Self::Uid => ("UID", 5, false),
            Self::Pid => ("PID", 7, false),
            Self::Ppid => ("PPID", 7, false),
            Self::Pgid => ("PGID", 7, false),
            Self::Sid => ("SID", 7, false),
            Self::C => ("C", 2, false),
            Self::Cpu => ("%CPU", 4, false),
            Self::Mem => ("%MEM", 4, false),
            Self::Vsz => ("VSZ", 6, false),
            Self::Rss => ("RSS", 5, false),
            Self::Nice => ("NI", 3, false),
            Self::Threads => ("NLWP", 4, false),
            Self::Tty(width) => ("TTY", width, true),
            Self::Stat => ("STAT", 4, true),
            Self::Start(heading) => (heading, 5, true),
            Self::Elapsed => ("ELAPSED", 11, false),
            Self::LongTime => ("TIME", 8, false),
            Self::ShortTime => ("TIME", 6, false),
            Self::Comm(heading) => (heading, 15, true),
            Self::Args(heading) => (heading, 0, true),
        }
    }
}

/// `ps ID [OPTIONS OF PS]`.
pub(super) fn ps(table: &Table, args: &Args) -> Result<(), CliError> {
    let record = table.read(args.id()?)?;
    let rest: Vec<String> = args.operands[1..].iter().map(|o| o.to_string_lossy().into_owned()).collect();
    let (format, columns) = options(&rest)?;
    let mut pids = record.group()?.procs()?;
    pids.sort_unstable();
    match format.as_deref().map_or_else(|| args.text("format"), |f| Ok(Some(f)))? {
        Some("json") => out::print(&format!("{}\n", serde_json::json!(pids))),
        None | Some("table") => {
            let machine = Machine::read();
            let processes = pids.iter().filter_map(|pid| Process::read(*pid));
            let rows = processes.map(|p| columns.iter().map(|c| machine.cell(*c, &p)).collect());
            out::print(&table_of(&columns, rows.collect()).iter().map(|line| format!("{line}\n")).collect::<String>())
        }
        Some(other) => Err(UsageError(format!("invalid format option `{other}`: it is table or json")).into()),
    }
}

/// What the words after the id say: a format, which is ours, and columns.
fn options(words: &[String]) -> Result<(Option<String>, Vec<Column>), UsageError> {
    let (mut format, mut columns, mut plain) = (None, None, words.is_empty());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if let Some(rest) = word.strip_prefix("--format") {
            let value = rest.strip_prefix('=').map(str::to_owned).or_else(|| words.next().cloned());
            format = Some(value.ok_or_else(|| UsageError("option --format needs a value".into()))?);
            plain = true;
            continue;
        }
        let letters = word.strip_prefix('-').unwrap_or(word);
        for (at, letter) in letters.char_indices() {
            match letter {
                // Which processes: those of the container, in any case.
                'a' | 'A' | 'e' | 'w' => {}
                'f' => columns = Some(FULL.to_vec()),
                'x' => columns = columns.or(Some(BSD.to_vec())),
                'u' => columns = Some(USERS.to_vec()),
                'o' => {
                    let inline = &letters[at + 1..];
                    let list = if inline.is_empty() { words.next().map_or("", String::as_str) } else { inline };
                    columns = Some(listed(list)?);
                    break;
                }
                _ => {
                    return Err(UsageError(format!(
                        "ps: option `{word}` is not supported: it may be -e, -f, a, u, x or -o COLUMNS"
                    )));
                }
            }
        }
    }
    Ok((format, columns.unwrap_or_else(|| if plain { FULL.to_vec() } else { SHORT.to_vec() })))
}

fn listed(list: &str) -> Result<Vec<Column>, UsageError> {
    let unknown = |name: &str| UsageError(format!("ps: -o: no column `{name}`"));
    list.split([',', ' ']).map(|name| Column::named(name).ok_or_else(|| unknown(name))).collect()
}

fn table_of(columns: &[Column], rows: Vec<Vec<String>>) -> Vec<String> {
    let headings = columns.iter().map(|c| c.form().0.to_owned()).collect();
    let line = |cells: &Vec<String>| {
        let cell = |(column, text): (&Column, &String)| match column.form() {
            (_, width, true) => format!("{text:width$}"),
            (_, width, false) => format!("{text:>width$}"),
        };
        let cells: Vec<String> = columns.iter().zip(cells).map(cell).collect();
        cells.join(" ").trim_end().to_owned()
    };
    std::iter::once(&headings).chain(&rows).map(line).collect()
}

/// What is needed to say something of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Process {
    pid: u32,
    uid: u32,
    state: String,
    ppid: i64,
    pgid: i64,
    sid: i64,
    tty: u64,
    /// Process group in the foreground of its terminal.
    foreground: i64,
    /// CPU time and start after boot, in ticks.
    used: u64,
    start: u64,
    nice: i64,
    threads: u64,
    vsz_bytes: u64,
    rss_pages: u64,
    comm: String,
    args: String,
}

impl Process {
    /// `None` when it has ended meanwhile.
    fn read(pid: u32) -> Option<Self> {
        let dir = format!("/proc/{pid}");
        let stat = procfs::read(format!("{dir}/stat")).ok()?;
        let status = procfs::read(format!("{dir}/status")).ok()?;
        let args = fs::read(format!("{dir}/cmdline")).unwrap_or_default();
        Self::parse(pid, &stat, &status, &args)
    }

    fn parse(pid: u32, stat: &str, status: &str, args: &[u8]) -> Option<Self> {
        // The name may hold anything, parentheses too: what follows the last one is fixed, and begins with field 3.
        let (before, after) = stat.rsplit_once(')')?;
        let comm = before.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        let signed = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<i64>().ok()).unwrap_or(0);
        let unsigned = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        let args = String::from_utf8_lossy(args).replace('\0', " ").trim_end().to_owned();
        Some(Self {
            pid,
            uid: uids.split_ascii_whitespace().nth(1)?.parse().ok()?,
            state: (*fields.first()?).to_owned(),
            ppid: signed(4),
            pgid: signed(5),
            sid: signed(6),
            tty: unsigned(7),
            foreground: signed(8),
            used: unsigned(14) + unsigned(15),
            nice: signed(19),
            threads: unsigned(20),
            start: unsigned(22),
            vsz_bytes: unsigned(23),
            rss_pages: unsigned(24),
            args: if args.is_empty() { format!("[{comm}]") } else { args },
            comm,
        })
    }

    /// The state with ps's marks: nice, session leader, threads, foreground.
    fn stat(&self) -> String {
        let mut text = self.state.clone();
        match self.nice {
            ..0 => text.push('<'),
            1.. => text.push('N'),
            0 => {}
        }
        for (mark, yes) in [
            ('s', self.sid == i64::from(self.pid)),
            ('l', self.threads > 1),
            ('+', self.foreground > 0 && self.foreground == self.pgid),
        ] {
            text.extend(yes.then_some(mark));
        }
        text
    }

    fn tty(&self) -> String {
        let (major, minor) = (self.tty >> 8 & 0xFFF, self.tty & 0xFF | self.tty >> 12 & 0xFFF00);
        match (major, minor) {
            (136..=143, _) => format!("pts/{}", (major - 136) * 256 + minor),
            (4, ..64) => format!("tty{minor}"),
            (5, 1) => "console".to_owned(),
            _ => "?".to_owned(),
        }
    }
}

/// What the numbers in /proc are relative to.
#[derive(Debug, Default)]
struct Machine {
    ticks: u64,
    page_kib: u64,
    memory_kib: u64,
    uptime: f64,
    now: i64,
    passwd: String,
}

impl Machine {
    fn read() -> Self {
        let number = |var| sysconf(var).ok().flatten().and_then(|n| u64::try_from(n).ok());
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        Self {
            ticks: number(SysconfVar::CLK_TCK).unwrap_or(100).max(1),
            page_kib: number(SysconfVar::PAGE_SIZE).unwrap_or(4096) / 1024,
            memory_kib: total.and_then(|t| t.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0),
            uptime: uptime.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(0.0),
            now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64,
            passwd: fs::read_to_string("/etc/passwd").unwrap_or_default(),
        }
    }

    fn cell(&self, column: Column, p: &Process) -> String {
        let seconds = p.used / self.ticks;
        let elapsed = (self.uptime - p.start as f64 / self.ticks as f64).max(0.0);
        let cpu = p.used as f64 / self.ticks as f64 / elapsed.max(0.01) * 100.0;
        let (minutes, hours) = (seconds / 60, seconds / 3600);
        match column {
            Column::User(_) => self.user(p.uid),
            Column::Uid => p.uid.to_string(),
            Column::Pid => p.pid.to_string(),
            Column::Ppid => p.ppid.to_string(),
            Column::Pgid => p.pgid.to_string(),
            Column::Sid => p.sid.to_string(),
            Column::C => format!("{:.0}", cpu.min(99.0).floor()),
            Column::Cpu => format!("{:.1}", cpu.min(999.9)),
            Column::Mem => format!("{:.1}", (p.rss_pages * self.page_kib * 100) as f64 / self.memory_kib.max(1) as f64),
            Column::Vsz => (p.vsz_bytes / 1024).to_string(),
            Column::Rss => (p.rss_pages * self.page_kib).to_string(),
            Column::Nice => p.nice.to_string(),
            Column::Threads => p.threads.to_string(),
            Column::Tty(_) => p.tty(),
            Column::Stat => p.stat(),
            Column::Start(_) => started(local(self.now - elapsed as i64), local(self.now)),
            Column::Elapsed => elapsed_text(elapsed as u64),
            Column::LongTime => format!("{hours:02}:{:02}:{:02}", minutes % 60, seconds % 60),
            Column::ShortTime => format!("{minutes}:{:02}", seconds % 60),
            Column::Comm(_) => p.comm.clone(),
            Column::Args(_) => p.args.clone(),
        }
    }

    /// By the host's own list; a name too long for its column is cut.
    fn user(&self, uid: u32) -> String {
        let name = self.passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
        });
        match name {
            Some(name) if name.chars().count() > 8 => format!("{}+", name.chars().take(7).collect::<String>()),
            Some(name) => name.to_owned(),
            None => uid.to_string(),
        }
    }
}

/// The time of today, the day of this year, or the year.
fn started(start: Option<LocalTime>, now: Option<LocalTime>) -> String {
    let (Some(start), Some(now)) = (start, now) else { return "?".to_owned() };
    if start.year != now.year {
        return start.year.to_string();
    }
    if start.day_of_year != now.day_of_year {
        return format!("{}{:02}", MONTHS.get(start.month).unwrap_or(&"?"), start.day);
    }
    format!("{:02}:{:02}", start.hour, start.minute)
}

fn elapsed_text(seconds: u64) -> String {
    let (days, hours, minutes, seconds) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes:02}:{seconds:02}"),
        (0, _) => format!("{hours:02}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}-{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(words: &[&str]) -> Result<Vec<Column>, UsageError> {
        options(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).map(|(_, columns)| columns)
    }

    #[test]
    fn the_options_of_ps_choose_the_table() {
        assert_eq!(columns(&[]).unwrap(), FULL);
        assert_eq!(columns(&["-ef"]).unwrap(), FULL);
        assert_eq!(columns(&["-e"]).unwrap(), SHORT);
        assert_eq!(columns(&["-e", "-x"]).unwrap(), BSD);
        assert_eq!(columns(&["aux"]).unwrap(), USERS);
        assert_eq!(columns(&["-o", "pid,args"]).unwrap(), [Column::Pid, Column::Args("COMMAND")]);
        assert_eq!(columns(&["-eopid"]).unwrap(), [Column::Pid]);
        assert!(columns(&["-o", "nope"]).is_err() && columns(&["-Z"]).is_err() && columns(&["-o"]).is_err());
        let words = ["--format".to_owned(), "json".to_owned()];
        assert_eq!(options(&words).unwrap().0.as_deref(), Some("json"));
    }

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "42 (a) b (c) R 1 40 42 34816 40 0 0 0 0 0 150 50 0 0 20 -5 2 0 6000 8192000 250 0";
        let status = "Name:\tx\nUid:\t1\t33\t1\t1\nGid:\t0\t0\t0\t0\n";
        let p = Process::parse(42, stat, status, b"a\0-b\0").unwrap();
        assert_eq!((p.uid, p.comm.as_str(), p.args.as_str()), (33, "a) b (c", "a -b"));
        assert_eq!((p.stat().as_str(), p.tty().as_str()), ("R<sl+", "pts/0"));
        let passwd = "root:x:0:0::/:\nlong-name-of-a-user:x:33:33::/:\n".to_owned();
        let machine = Machine { ticks: 100, page_kib: 4, memory_kib: 100_000, uptime: 70.0, now: 0, passwd };
        let cell = |c| machine.cell(c, &p);
        assert_eq!(
            [Column::User(""), Column::C, Column::Mem, Column::Vsz, Column::LongTime, Column::ShortTime].map(cell),
            ["long-na+", "20", "1.0", "8000", "00:00:02", "0:02"]
        );
        assert_eq!(Process::parse(1, stat, status, b"").unwrap().args, "[a) b (c]");
    }

    #[test]
    fn a_table_is_aligned_but_for_its_last_column() {
        let rows = vec![vec!["7".to_owned(), "?".to_owned(), "sh -c x".to_owned()]];
        let lines = table_of(&[Column::Pid, Column::Tty(8), Column::Args("CMD")], rows);
        assert_eq!(lines, ["    PID TTY      CMD", "      7 ?        sh -c x"]);
    }

    #[test]
    fn a_start_is_as_precise_as_there_is_room_for() {
        let at = |year, day_of_year| LocalTime { year, day_of_year, month: 1, day: 3, hour: 4, minute: 5 };
        assert_eq!(started(Some(at(2026, 33)), Some(at(2026, 33))), "04:05");
        assert_eq!(started(Some(at(2026, 33)), Some(at(2026, 34))), "Feb03");
        assert_eq!(started(Some(at(2025, 33)), Some(at(2026, 33))), "2025");
        assert_eq!((elapsed_text(61), elapsed_text(90_061)), ("01:01".into(), "1-01:01:01".into()));
    }
}
