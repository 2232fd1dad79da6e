"""What a result was computed with: versions, machine, code."""

import datetime
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

__all__ = ["changes", "environment"]

PACKAGES = ("lowland", "torch", "numpy", "scipy", "scikit-learn", "safetensors", "matplotlib")


def environment() -> dict[str, object]:
    """The environment of this process, as plain values.

    Python, packages, processor, cores, GPUs (when torch is loaded), and, where lowland runs from a git
    checkout, its commit, with ``+changes`` if files differ from it. No names of people or machines.
    """
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads_per_process": 1,
        "gpus": _gpus(),
    }


def changes(before: object, now: dict[str, object]) -> list[str]:
    """What differs between two environments so that results may differ in bits, one phrase each.

    Example:
        >>> changes({"python": "3.11.7", "started": "1"}, {"python": "3.12.1", "started": "2"})
        ['python was 3.11.7, is 3.12.1']
    """
    if not isinstance(before, dict):
        return ["environment.json is not readable"]
    then, today = _flat(before), _flat(now)
    names = [name for name in today if name not in ("started", "cores") and then.get(name) != today[name]]
    return [f"{name} was {then.get(name)}, is {today[name]}" for name in names]


def _flat(found: dict[str, object]) -> dict[str, object]:
    packages = found.get("packages")
    return {**found, **(packages if isinstance(packages, dict) else {}), "packages": None}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _commit() -> str | None:
    """The commit of the checkout lowland runs from; None when it is installed as a package."""
    if _git("ls-files", "--error-unmatch", "catalog.py") is None:
        return None
    commit = _git("rev-parse", "HEAD")
    return f"{commit}+changes" if _git("status", "--porcelain", "--", ".") else commit


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).resolve().parent.parent
    try:
        answer = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
