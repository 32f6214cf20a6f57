"""What a record says about the code, the packages and the machine that made its numbers."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from mmkd.record import Code, Machine

PACKAGES = (
    "mmkd",
    "torch",
    "torchvision",
    "transformers",
    "timm",
    "accelerate",
    "peft",
    "torchjd",
    "numpy",
    "pyarrow",
    "ray",
)

VECTOR = ("sse4", "avx", "fma", "amx", "asimd", "neon", "sve")
LIBRARIES = ("Intel(R) oneAPI Math", "Intel(R) Math", "Intel(R) MKL-DNN", "OpenBLAS", "CUDA Runtime", "CuDNN")


def package_versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on, those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code_state(root: Path) -> Code:
    """Commit of the project at `root`, and the sha256 of what differs from it (results aside), None when clean."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return Code(version=version("mmkd"), commit=None, diff=None)
    paths = ("--", ".", ":(exclude)results")
    changed = _git(root, "diff", "HEAD", "--binary", *paths) or b""
    listed = _git(root, "ls-files", "--others", "--exclude-standard", "-z", *paths) or b""
    new = [name for name in listed.split(b"\0") if name]
    digest = hashlib.sha256(changed)
    for name in new:
        path = root / os.fsdecode(name)
        digest.update(name + (path.read_bytes() if path.is_file() else b""))  # a repository inside is a folder
    return Code(
        version=version("mmkd"), commit=commit.decode().strip(), diff=digest.hexdigest() if changed or new else None
    )


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def machine(device: torch.device, processes: int = 1) -> Machine:
    """This machine, as far as numbers can depend on it. processes: those that train together."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Machine(
        device=name,
        cpu=_cpu_name(),
        cpu_features=torch.backends.cpu.get_cpu_capability(),
        cpu_flags=_cpu_flags(),
        libraries=_libraries(),
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        processes=processes,
        platform=platform.platform(),
        python=platform.python_version(),
    )


def _cpu_name() -> str:
    return _cpu_line("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> list[str]:
    """Vector instructions of the processor, where the system tells them."""
    flags = (_cpu_line("flags") or _cpu_line("Features") or "").split()
    return sorted({flag for flag in flags if flag.startswith(VECTOR)})


def _cpu_line(name: str) -> str | None:
    """What /proc/cpuinfo says of the first processor; None where there is no such file, or no such line."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), None)


def _libraries() -> list[str]:
    """The lines of torch's own description that name what multiplies matrices."""
    lines = (line.strip(" -") for line in torch.__config__.show().splitlines())
    return [line for line in lines if line.startswith(LIBRARIES)]


def peak_memory() -> int:
    """Largest resident set of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def quiet_hubs() -> None:
    """Keep the hub libraries' own progress bars and advice out of the output."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
