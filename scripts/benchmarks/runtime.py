"""OCI runtimes: /bin/true in all namespaces, from the command to the end of the container; and beside them the kernel's
own part of it as a tool of its own, `floor`, and on control groups of version 1 all that the document orders, `ordered`."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from measure import Host, Result, fixture, need, take_turns

CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
]
MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/sys/firmware"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def config(name: str) -> dict:
    """What `runc spec` writes, in essence, with the capabilities that engines give."""

    def mount(to: str, kind: str, *options: str) -> dict:
        return {"destination": to, "type": kind, "source": kind, "options": list(options)}

    mounts = [
        mount("/proc", "proc"),
        mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
        mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
    ]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {set_: CAPABILITIES for set_ in ("bounding", "effective", "permitted")},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "hostname": "bench",
        "mounts": mounts,
        "linux": {
            "cgroupsPath": f"/bench-{name}",
            "resources": {"devices": [{"allow": False, "access": "rwm"}], "memory": {"limit": 256 << 20}, "pids": {"limit": 100}},
            "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    }


def run(n: int | None, only: set[str] | None) -> list[Result]:
    need("crun", "runc")
    n = n or 30
    candidates = {"berth": os.environ["BERTH_RUNTIME_BIN"], "crun": shutil.which("crun"), "runc": shutil.which("runc")}
    candidates = {c: path for c, path in candidates.items() if not only or c in only}
    with_floor = not only or "floor" in only
    layout = fixture("busybox-image") / "layout"
    results: list[Result] = []
    hosts = {c: Host(f"bench-{c}") for c in [*candidates, *(["floor"] if with_floor else [])]}
    try:
        bundles: dict[str, Path] = {}
        for candidate, host in hosts.items():
            bundle = host.dir / "bundle"
            subprocess.run(["umoci", "unpack", "--image", f"{layout}:busybox", bundle], check=True, capture_output=True)
            (bundle / "config.json").write_text(json.dumps(config(candidate)))
            bundles[candidate] = bundle

        number = 0

        def name() -> str:
            nonlocal number
            number += 1
            return f"b{number}"

        def once(candidate: str) -> float:
            return hosts[candidate].timed(candidates[candidate], "run", "--bundle", str(bundles[candidate]), name())

        rounds = {c: lambda c=c: once(c) for c in candidates}
        if with_floor:
            tool = hosts["floor"].dir / "floor"
            subprocess.run(["cc", "-O2", "-static", "-o", tool, Path(__file__).parent / "floor.c"], check=True)
            argv = [str(tool), str(bundles["floor"] / "rootfs"), "/bin/true"]
            rounds["floor"] = lambda: hosts["floor"].timed(*argv)
            if Path("/sys/fs/cgroup/cpuset/tasks").exists():
                rounds["ordered"] = lambda: hosts["floor"].timed(*argv, "bench-ordered")
        results += take_turns("runtime", "run", rounds, n, 3)

        parts: dict[str, dict[str, list[float]]] = {}

        def whole(candidate: str) -> float:
            host = hosts[candidate]
            request = {"bundle": str(bundles[candidate]), "name": name(), "pid_file": "/run/bench-pid"}
            times = host.ask(do="life", argv=[candidates[candidate]], **request)
            for part, ms in times.items():
                parts.setdefault(part, {}).setdefault(candidate, []).append(ms)
            return times["create+start+wait+delete"]

        whole_results = take_turns("runtime", "create+start+wait+delete", {c: lambda c=c: whole(c) for c in candidates}, n, 3)
        for part in ("create", "start", "delete"):
            for candidate, times in parts[part].items():
                counted = sorted(times[3:])
                results.append(Result("runtime", part, candidate, "ms", counted[len(counted) // 2], counted[0], counted[-1], len(counted)))
        results += whole_results
    finally:
        for host in hosts.values():
            host.close()
    return results
