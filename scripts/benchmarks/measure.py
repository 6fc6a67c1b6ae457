"""Machines to measure on, turns, and what comes of them."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Result:
    area: str
    case: str
    candidate: str
    unit: str
    median: float
    min: float
    max: float
    n: int


class Host:
    """A test host, and a process in it that starts programs: the time to enter the host is not measured."""

    def __init__(self, name: str):
        binary = os.environ["BERTH_TEST_HOST_BIN"]
        self.keeper = subprocess.Popen([binary, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = json.loads(self.keeper.stdout.readline())
        self.pid, self.dir = ready["pid"], Path(ready["dir"])
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--"]
        command = [*inside, sys.executable, str(Path(__file__).parent / "inside.py")]
        self.inside = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request) -> dict:
        self.inside.stdin.write(json.dumps(request) + "\n")
        self.inside.stdin.flush()
        line = self.inside.stdout.readline()
        if not line:
            raise SystemExit("bench: the process inside the host has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise SystemExit(f"bench: {request}: {answer['error']}")
        return answer

    def run(self, *argv: str, **env: str) -> str:
        """Runs a program to its end, which must be a good one; its output."""
        return self.ask(do="run", argv=argv, env=env)["output"]

    def timed(self, *argv: str) -> float:
        """Milliseconds that a program takes. Its output goes to files: a container may hold what it inherits."""
        return self.ask(do="time", argv=argv)["ms"]

    def start(self, *argv: str, **env: str) -> int:
        """Starts a daemon; its pid inside the host."""
        return self.ask(do="start", argv=argv, env=env)["pid"]

    def until(self, *argv: str, seconds: float = 60) -> None:
        """Runs a program until it ends well."""
        deadline = time.monotonic() + seconds
        while self.ask(do="try", argv=argv)["code"] != 0:
            if time.monotonic() > deadline:
                raise SystemExit(f"bench: waited {seconds} s for {' '.join(argv)}")
            time.sleep(0.1)

    def pss(self, matches: Callable[[list[str]], bool]) -> tuple[float, int]:
        """Proportional memory in MiB of the host's processes whose command line matches, and how many they are."""
        total, count = 0, 0
        for process in Path(f"/proc/{self.pid}/root/proc").glob("[0-9]*"):
            try:
                line = (process / "cmdline").read_text().split("\0")
                if matches(line):
                    rollup = (process / "smaps_rollup").read_text()
                    total += int(rollup.split("\nPss:")[1].split()[0])
                    count += 1
            except (OSError, IndexError):
                continue
        return total / 1024, count

    def close(self) -> None:
        self.keeper.stdin.close()
        self.keeper.wait()
        self.inside.wait()


def take_turns(area: str, case: str, rounds: dict[str, Callable[[], float]], n: int, warm_up: int, unit: str = "ms") -> list[Result]:
    """Lets every candidate measure once a round; the first rounds do not count."""
    times: dict[str, list[float]] = {candidate: [] for candidate in rounds}
    for i in range(warm_up + n):
        for candidate, measure in rounds.items():
            value = measure()
            if i >= warm_up:
                times[candidate].append(value)
        if sys.stderr.isatty():
            print(f"\r{area} {case}: {i + 1}/{warm_up + n}\033[K", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return [Result(area, case, c, unit, statistics.median(t), min(t), max(t), len(t)) for c, t in times.items()]


def need(*packages: str) -> None:
    subprocess.run([ROOT / "scripts/need", *packages], check=True)


def fixture(name: str) -> Path:
    made = subprocess.run([ROOT / f"rootfs-fixtures/make-{name}.sh"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(made.stdout.strip())
