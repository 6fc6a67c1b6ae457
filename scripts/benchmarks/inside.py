"""Runs inside a test host: starts programs as it is told, one request and one answer a line."""

import json
import os
import select
import subprocess
import sys
import time

null_in = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
null_out = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
errors = "/run/bench-errors"
stdio = [
    (os.POSIX_SPAWN_DUP2, null_in, 0),
    (os.POSIX_SPAWN_DUP2, null_out, 1),
    (os.POSIX_SPAWN_OPEN, 2, errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
]


def spawn_and_wait(argv: list[str]) -> None:
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=stdio)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        with open(errors) as file:
            raise RuntimeError(f"{argv} ended with {os.waitstatus_to_exitcode(status)}: {file.read()}")


def life(argv0: list[str], bundle: str, name: str, pid_file: str) -> dict[str, float]:
    """An OCI runtime's create, start, wait and delete, each in milliseconds and all together."""
    t0 = time.perf_counter()
    spawn_and_wait([*argv0, "create", "--bundle", bundle, "--pid-file", pid_file, name])
    t1 = time.perf_counter()
    with open(pid_file) as file:
        pidfd = os.pidfd_open(int(file.read()))
    t2 = time.perf_counter()
    spawn_and_wait([*argv0, "start", name])
    t3 = time.perf_counter()
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    os.close(pidfd)
    t4 = time.perf_counter()
    spawn_and_wait([*argv0, "delete", name])
    t5 = time.perf_counter()
    parts = {"create": t1 - t0, "start": t3 - t2, "delete": t5 - t4, "create+start+wait+delete": t5 - t0 - (t2 - t1)}
    return {part: seconds * 1000 for part, seconds in parts.items()}


def answer(request: dict) -> dict:
    argv = request.get("argv", [])
    env = {**os.environ, **request.get("env", {})}
    match request["do"]:
        case "run":
            done = subprocess.run(argv, env=env, stdin=null_in, capture_output=True, text=True)
            if done.returncode != 0:
                return {"error": f"exit code {done.returncode}: {done.stderr[-2000:]}"}
            return {"output": done.stdout}
        case "try":
            done = subprocess.run(argv, env=env, stdin=null_in, stdout=null_out, stderr=null_out)
            return {"code": done.returncode}
        case "start":
            with open(f"/run/bench-{os.path.basename(argv[0])}.log", "w") as log:
                return {"pid": subprocess.Popen(argv, env=env, stdin=null_in, stdout=log, stderr=log).pid}
        case "time":
            start = time.perf_counter()
            spawn_and_wait(argv)
            return {"ms": (time.perf_counter() - start) * 1000}
        case "life":
            return life(argv, request["bundle"], request["name"], request["pid_file"])
        case other:
            return {"error": f"unknown request {other}"}


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except (OSError, RuntimeError) as error:
        reply = {"error": str(error)}
    print(json.dumps(reply), flush=True)
