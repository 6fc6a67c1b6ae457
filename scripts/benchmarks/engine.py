"""Engines: from the command that starts a container in the background to its process running, and what each kept
container costs in memory. The image is there already. ctr has no ports, and its `none` is an empty namespace."""

import os
from pathlib import Path

from measure import Host, Result, fixture, need, take_turns

KEPT = 20
PORT = 127 << 8


class Engine:
    """One engine on a host of its own. `argv` is the command that starts a container in the background."""

    name = ""
    networks = ("none", "host", "bridge with a port")

    def __init__(self) -> None:
        self.host = Host(f"bench-{self.name}")
        self.count = 0
        self.registry()
        self.prepare()

    def registry(self) -> None:
        config = self.host.dir / "registry.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage:\n  filesystem: {{rootdirectory: {fixture('registry')}}}\n  maintenance: {{readonly: {{enabled: true}}}}\n"
            'http: {addr: "127.0.0.1:5000"}\n'
        )
        self.host.start("docker-registry", "serve", str(config))
        self.host.until("curl", "-sf", "http://127.0.0.1:5000/v2/")

    def prepare(self) -> None:
        raise NotImplementedError

    def argv(self, network: str, name: str, port: int) -> list[str]:
        raise NotImplementedError

    def remove(self, name: str) -> list[str]:
        raise NotImplementedError

    def is_shim(self, line: list[str]) -> bool:
        """A process that is kept for each container, told by its command line."""
        raise NotImplementedError

    def start(self, network: str) -> tuple[str, float]:
        self.count += 1
        name = f"bench{self.count}"
        return name, self.host.timed(*self.argv(network, name, PORT + self.count))

    def once(self, network: str) -> float:
        name, ms = self.start(network)
        self.host.run(*self.remove(name))
        return ms

    def memory(self) -> float:
        names = [self.start("none")[0] for _ in range(KEPT)]
        pss, count = self.host.pss(self.is_shim)
        for name in names:
            self.host.run(*self.remove(name))
        if count < KEPT:
            raise SystemExit(f"bench: {self.name} keeps {count} processes for {KEPT} containers")
        return pss / KEPT

    def close(self) -> None:
        self.host.close()


class Berth(Engine):
    name = "berth"

    def prepare(self) -> None:
        self.berth = os.environ["BERTH_BIN"]
        self.host.start(self.berth, "agent", "--runtime", os.environ["BERTH_RUNTIME_BIN"])
        self.host.until(self.berth, "node")
        self.host.run(self.berth, "pull", "127.0.0.1:5000/busybox")

    def argv(self, network: str, name: str, port: int) -> list[str]:
        kind = ["--network", network.split()[0]] + (["-p", f"{port}:80"] if "port" in network else [])
        limits = ["--cpu", "10", "--memory", "8"]
        return [self.berth, "run", "--detach", "--name", name, *kind, *limits, "127.0.0.1:5000/busybox", "sleep", "1000"]

    def remove(self, name: str) -> list[str]:
        return ["sh", "-c", f"{self.berth} stop -t 0 {name} && {self.berth} rm {name}"]

    def is_shim(self, line: list[str]) -> bool:
        return line[0].endswith("berth-runtime") and line[1] == "shim"


class Docker(Engine):
    name = "docker"

    def prepare(self) -> None:
        self.host.start("dockerd", "--exec-opt", "native.cgroupdriver=cgroupfs")
        self.host.until("docker", "info")
        self.host.run("docker", "pull", "127.0.0.1:5000/busybox")

    def argv(self, network: str, name: str, port: int) -> list[str]:
        kind = ["-p", f"{port}:80"] if "port" in network else ["--network", network]
        return ["docker", "run", "--detach", "--name", name, *kind, "127.0.0.1:5000/busybox", "sleep", "1000"]

    def remove(self, name: str) -> list[str]:
        return ["docker", "rm", "--force", name]

    def is_shim(self, line: list[str]) -> bool:
        return "containerd-shim" in line[0]


class Podman(Engine):
    name = "podman"
    options = ["--cgroup-manager", "cgroupfs", "--events-backend", "file"]

    def prepare(self) -> None:
        self.host.run("podman", *self.options, "pull", "--tls-verify=false", "127.0.0.1:5000/busybox")

    def argv(self, network: str, name: str, port: int) -> list[str]:
        kind = ["-p", f"{port}:80"] if "port" in network else ["--network", network]
        limit = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        return ["podman", *self.options, "run", "--detach", "--name", name, *kind, *limit, "127.0.0.1:5000/busybox", "sleep", "1000"]

    def remove(self, name: str) -> list[str]:
        return ["podman", *self.options, "rm", "--force", "--time", "0", name]

    def is_shim(self, line: list[str]) -> bool:
        return Path(line[0]).name == "conmon"


class Ctr(Engine):
    name = "ctr"
    networks = ("none", "host")
    image = "127.0.0.1:5000/busybox:latest"

    def prepare(self) -> None:
        self.host.start("containerd")
        self.host.until("ctr", "version")
        self.host.run("ctr", "image", "pull", "--plain-http", self.image)

    def argv(self, network: str, name: str, port: int) -> list[str]:
        kind = ["--net-host"] if network == "host" else []
        return ["ctr", "run", "--detach", *kind, self.image, name, "/bin/sleep", "1000"]

    def remove(self, name: str) -> list[str]:
        return ["sh", "-c", f"ctr task kill -s KILL {name}; ctr task rm -f {name}; ctr container rm {name}"]

    def is_shim(self, line: list[str]) -> bool:
        return "containerd-shim" in line[0]


def run(n: int | None, only: set[str] | None) -> list[Result]:
    need("docker.io", "podman", "containerd", "crun", "docker-registry", "skopeo", "curl")
    n = n or 10
    engines: list[Engine] = []
    results: list[Result] = []
    try:
        for kind in (Berth, Docker, Podman, Ctr):
            if not only or kind.name in only:
                engines.append(kind())
        for network in Engine.networks:
            rounds = {e.name: lambda e=e: e.once(network) for e in engines if network in e.networks}
            results += take_turns("engine", f"start, {network}", rounds, n, 2)
        for engine in engines:
            kept = engine.memory()
            results.append(Result("engine", f"memory kept per task, {KEPT} tasks", engine.name, "MiB", kept, kept, kept, 1))
    finally:
        for engine in engines:
            engine.close()
    return results
