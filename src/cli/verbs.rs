//! The verbs and their options: the one table that both the parser and help read.

use super::args::{Grammar, Operands, Opt};

const fn value(long: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt { long, short: '\0', value, help }
}

const fn flag(long: &'static str, help: &'static str) -> Opt {
    Opt { long, short: '\0', value: "", help }
}

const fn short(short: char, opt: Opt) -> Opt {
    Opt { short, ..opt }
}

/// Options before the verb.
pub(super) const GLOBAL: Grammar = Grammar {
    name: "",
    usage: "[OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]",
    about: "an OCI runtime for Linux",
    more: "",
    options: &[
        value("root", "DIR", "where containers are recorded, best on a tmpfs (/run/berth-runtime)"),
        value("log", "FILE", "write errors, and with --debug more, to FILE too (standard error alone)"),
        value("log-format", "FORMAT", "the lines of the log: text or json (text)"),
        flag("debug", "also say what is done"),
        flag("systemd-cgroup", "let systemd make the control groups; cgroupsPath is SLICE:PREFIX:NAME"),
        value("rootless", "BOOL", "accepted for the sake of callers, true, false or auto: berth-runtime needs root"),
        value("criu", "FILE", "accepted for the sake of callers; checkpoints are not supported"),
        short('h', flag("help", "show this, or after a command what it takes")),
        short('v', flag("version", "show the version")),
    ],
    operands: Operands::Verb,
};

const BUNDLE: Opt = short('b', value("bundle", "DIR", "the bundle (the current directory)"));
const CONSOLE: Opt =
    value("console-socket", "SOCKET", "hand the master end of the terminal to whoever listens on this unix socket");
const PID_FILE: Opt = value("pid-file", "FILE", "write the process id to FILE");
const PIDFD: Opt = value("pidfd-socket", "SOCKET", "hand a descriptor of the process to whoever listens there");
const PRESERVE: Opt = value("preserve-fds", "N", "hand on N descriptors from 3 up, after those of LISTEN_FDS (0)");
const DETACH: Opt = short('d', flag("detach", "do not wait for the process to end"));
const NO_PIVOT: Opt = flag("no-pivot", "use mount and chroot instead of pivot_root, for a root on the initial ramdisk");
const NO_KEYRING: Opt = flag("no-new-keyring", "keep the caller's session keyring");
const FORMAT: Opt = short('f', value("format", "FORMAT", "table or json (table)"));

const fn plain(name: &'static str, about: &'static str, more: &'static str) -> Grammar {
    Grammar { name, usage: "ID", about, more, options: &[], operands: Operands::Exactly(1) }
}

const CREATE_MORE: &str =
    "The id is new to this host. The program of the bundle's config.json runs once `start` says so.";

pub(super) const CREATE: Grammar = Grammar {
    name: "create",
    usage: "[OPTIONS] ID",
    about: "create a container",
    more: CREATE_MORE,
    options: &[BUNDLE, CONSOLE, PID_FILE, PIDFD, NO_PIVOT, NO_KEYRING, PRESERVE],
    operands: Operands::Exactly(1),
};

pub(super) const RUN: Grammar = Grammar {
    name: "run",
    usage: "[OPTIONS] ID",
    about: "create a container, start it, wait for its end and delete it",
    more: "Ends with the program's exit code, or 128 and the number of the signal that ended it.\n\
           Signals are handed on to the program. A program with a terminal gets this one, unless\n\
           the container is detached.",
    options: &[
        BUNDLE,
        CONSOLE,
        DETACH,
        flag("keep", "do not delete the container when it has ended"),
        PID_FILE,
        PIDFD,
        NO_PIVOT,
        NO_KEYRING,
        PRESERVE,
        flag("no-subreaper", "accepted for the sake of callers; there is none to disable"),
    ],
    operands: Operands::Exactly(1),
};

pub(super) const EXEC: Grammar = Grammar {
    name: "exec",
    usage: "[OPTIONS] ID COMMAND [ARGUMENTS]\n    berth-runtime exec [OPTIONS] --process FILE ID",
    about: "run one more process in a container",
    more: "What is not said is as config.json says for the container's own process.\n\
           So are HOME and further groups of another USER, who without GROUP also gets those\n\
           that the container's group file says.\n\
           Ends with the process's exit code, or with 255 when it could not be started.",
    options: &[
        CONSOLE,
        value("cwd", "DIR", "working directory"),
        short('e', value("env", "NAME=VALUE", "set a variable; may be repeated")),
        short('t', flag("tty", "give it a terminal")),
        short('u', value("user", "USER[:GROUP]", "run as this user, by name or number of the container's")),
        short('g', value("additional-gids", "GIDS", "add these groups, by number; may be repeated")),
        short('p', value("process", "FILE", "read the process from FILE, an OCI process document")),
        DETACH,
        PID_FILE,
        PIDFD,
        value("process-label", "LABEL", "SELinux label of the process"),
        value("apparmor", "PROFILE", "AppArmor profile of the process"),
        flag("no-new-privs", "nothing that it executes can gain privileges"),
        short('c', value("cap", "CAP", "add a capability; may be repeated")),
        PRESERVE,
        value("cgroup", "[CONTROLLERS:]PATH", "run in an existing group below the container's; may be repeated"),
        flag("ignore-paused", "also in a container that is paused, where it waits"),
    ],
    operands: Operands::Command,
};

pub(super) const START: Grammar =
    plain("start", "let the program of a created container run", "Returns when the program runs.");
pub(super) const STATE: Grammar = plain("state", "show a container's state as JSON", "");
pub(super) const PAUSE: Grammar = plain("pause", "stop all processes of a container", "");
pub(super) const RESUME: Grammar = plain("resume", "let the processes of a paused container go on", "");

pub(super) const KILL: Grammar = Grammar {
    name: "kill",
    usage: "[OPTIONS] ID [SIGNAL]",
    about: "send a signal, by name or number (TERM), to a container's init",
    more: "",
    options: &[short('a', flag("all", "send it to every process of the container"))],
    operands: Operands::Between(1, 2),
};

pub(super) const DELETE: Grammar = Grammar {
    name: "delete",
    usage: "[OPTIONS] ID",
    about: "remove what is left of a container that has ended",
    more: "",
    options: &[short('f', flag("force", "kill it first if need be; what does not exist is no error"))],
    operands: Operands::Exactly(1),
};

pub(super) const LIST: Grammar = Grammar {
    name: "list",
    usage: "[OPTIONS]",
    about: "list the containers",
    more: "",
    options: &[FORMAT, short('q', flag("quiet", "ids alone"))],
    operands: Operands::Exactly(0),
};

pub(super) const PS: Grammar = Grammar {
    name: "ps",
    usage: "[OPTIONS] ID [OPTIONS OF PS]",
    about: "list the processes of a container, by their ids on the host",
    more: "After the id the columns can be chosen as for ps(1): -f (as it is without any), -x, -u, or\n\
           -o COLUMNS. No ps is run.",
    options: &[FORMAT],
    operands: Operands::Verb,
};

pub(super) const UPDATE: Grammar = Grammar {
    name: "update",
    usage: "[OPTIONS] ID",
    about: "change the limits of a container",
    more: "What is not said stays as it is; -1 is no limit. Sizes are bytes or have a unit, as in 512m.",
    options: &[
        short(
            'r',
            value("resources", "FILE", "read all limits from FILE (`-` is standard input), as in linux.resources"),
        ),
        value("blkio-weight", "WEIGHT", "weight for block devices, 10 to 1000"),
        value("cpu-period", "US", "length of the period of the CPU limit"),
        value("cpu-quota", "US", "CPU time in each period"),
        value("cpu-burst", "US", "CPU time that can be saved up from earlier periods"),
        value("cpu-share", "SHARES", "CPU weight, 2 to 262144"),
        value("cpu-rt-period", "US", "length of the period of the limit of real-time processes"),
        value("cpu-rt-runtime", "US", "CPU time of real-time processes in each period"),
        value("cpuset-cpus", "LIST", "CPUs to run on"),
        value("cpuset-mems", "LIST", "memory nodes to use"),
        value("cpu-idle", "0|1", "only run when nobody else wants to"),
        value("memory", "SIZE", "memory limit"),
        value("memory-reservation", "SIZE", "memory that is spared by reclaim"),
        value("memory-swap", "SIZE", "limit of memory and swap together"),
        value("pids-limit", "N", "most processes and threads"),
        value("kernel-memory", "SIZE", "accepted for the sake of callers; kernels have no such limit any more"),
        value("kernel-memory-tcp", "SIZE", "as --kernel-memory"),
        value("l3-cache-schema", "SCHEMA", "refused: Intel RDT is not supported"),
        value("mem-bw-schema", "SCHEMA", "refused: Intel RDT is not supported"),
    ],
    operands: Operands::Exactly(1),
};

pub(super) const EVENTS: Grammar = Grammar {
    name: "events",
    usage: "[OPTIONS] ID",
    about: "show what a container uses and when it runs out of memory, as lines of JSON",
    more: "Ends with the container.",
    options: &[
        value("interval", "DURATION", "time between two accounts, as in 500ms (5s)"),
        flag("stats", "show one account and end"),
    ],
    operands: Operands::Exactly(1),
};

pub(super) const SPEC: Grammar = Grammar {
    name: "spec",
    usage: "[OPTIONS]",
    about: "write a config.json to begin with",
    more: "It runs `sh` in the directory `rootfs` of the bundle. An existing file is left alone.",
    options: &[
        BUNDLE,
        flag("rootless", "one with a user namespace whose root is the calling user; root has to run it"),
    ],
    operands: Operands::Exactly(0),
};

pub(super) const FEATURES: Grammar = Grammar {
    name: "features",
    usage: "",
    about: "show what this runtime supports as JSON",
    more: "The document is the one of the OCI runtime specification. What the machine lacks is not in it.",
    options: &[],
    operands: Operands::Exactly(0),
};

/// All verbs, in the order in which help shows them.
pub(super) const ALL: &[&Grammar] = &[
    &CREATE, &START, &RUN, &EXEC, &STATE, &LIST, &PS, &EVENTS, &UPDATE, &KILL, &DELETE, &PAUSE, &RESUME, &SPEC,
    &FEATURES,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_verb_has_two_options_of_one_name() {
        for grammar in ALL.iter().chain([&&GLOBAL]) {
            let mut names: Vec<String> = grammar.options.iter().map(|o| o.long.to_owned()).collect();
            names.extend(grammar.options.iter().filter(|o| o.short != '\0').map(|o| o.short.to_string()));
            let all = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), all, "{}", grammar.name);
        }
    }
}
