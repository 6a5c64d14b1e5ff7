"""Facts about the machine and the checkout, by reading only: nothing is loaded, nothing changed."""

from __future__ import annotations

import gzip
import os
import platform
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from reports.schema import Host

# capability -> (kernel module, kernel option)
MODULES = {
    "netem": ("sch_netem", "CONFIG_NET_SCH_NETEM"),
    "wireguard": ("wireguard", "CONFIG_WIREGUARD"),
    "ipvs": ("ip_vs", "CONFIG_IP_VS"),
}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the kernel says things; tests point it at a tree of their own."""

    root: Path = Path("/")
    release: str = field(default_factory=platform.release)

    def text(self, path: str) -> str:
        """Return a file's text, or nothing when it is not there."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def config(self) -> str:
        """Return the kernel's configuration, where the kernel or the distribution keeps it."""
        try:
            return gzip.decompress((self.root / "proc/config.gz").read_bytes()).decode(errors="replace")
        except OSError:
            return self.text(f"boot/config-{self.release}")


def host(sources: Sources | None = None) -> Host:
    """Return kernel, CPU model, cores this process may use, load, and the kind of machine."""
    where = sources or Sources()
    return Host(
        kernel=where.release,
        cpu=_cpu(where.text("proc/cpuinfo")),
        cores=len(os.sched_getaffinity(0)),
        load=load(),
        virt=_virt(where),
    )


def load() -> float:
    """Return the 1-minute load average."""
    return round(os.getloadavg()[0], 2)


def _cpu(cpuinfo: str) -> str:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model", "Processor"}:
            return value.strip()
    return platform.machine()


def _virt(where: Sources) -> str:
    parts = []
    product = where.text("sys/class/dmi/id/product_name").strip()
    if "hypervisor" in where.text("proc/cpuinfo").split():
        parts.append(f"virtual machine ({product})" if product else "virtual machine")
    elif product:
        parts.append(product)
    container = where.text("run/systemd/container").strip()
    if container or (where.root / ".dockerenv").exists():
        parts.append(f"container ({container or 'docker'})")
    return ", ".join(parts)


def capabilities(sources: Sources | None = None) -> dict[str, str]:
    """Return for each capability: loaded, builtin, available (could be loaded), absent or unknown."""
    where = sources or Sources()
    return {name: _module(where, module, option) for name, (module, option) in MODULES.items()}


def _module(where: Sources, module: str, option: str) -> str:
    if any(line.split(" ", 1)[0] == module for line in where.text("proc/modules").splitlines()):
        return "loaded"
    folder = f"lib/modules/{where.release}"
    builtin, dependencies = where.text(f"{folder}/modules.builtin"), where.text(f"{folder}/modules.dep")
    if _lists(builtin, module):
        return "builtin"
    if _lists(dependencies, module):
        return "available"
    config = where.config()
    if f"{option}=y" in config.splitlines():
        return "builtin"
    return "absent" if builtin or dependencies or config else "unknown"


def _lists(text: str, module: str) -> bool:
    paths = (line.split(":", 1)[0] for line in text.splitlines())
    return any(Path(path).name.split(".ko")[0].replace("-", "_") == module for path in paths)


@cache
def git_revision(checkout: Path) -> str:
    """Return the commit checked out, "+dirty" added when the tree differs from it; empty without git.

    Under sudo the checkout is another user's, which git refuses unless it is told that this is meant.
    """
    revision = _git(checkout, "rev-parse", "HEAD")
    if not revision:
        return ""
    return f"{revision}+dirty" if _git(checkout, "status", "--porcelain") else revision


def _git(checkout: Path, *words: str) -> str:
    argv = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-C", str(checkout), *words]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
