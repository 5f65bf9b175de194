"""Which binaries the testbed is made of, and how each is built. Versions are read from the go.mod files only."""

import hashlib
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """One program: its Go package, the folder of its module, and what the linker writes into it.

    ``stamps`` are linker variables whose values may speak of ``{version}``, ``{major}`` and ``{minor}`` of ``pin``,
    the module that go.mod requires.
    """

    name: str
    package: str
    pin: str
    module: Path = HERE
    stamps: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


# Without these the API server reports no version, and clients that ask for one refuse to talk to it.
KUBERNETES_STAMPS: Final = (
    "k8s.io/component-base/version.gitVersion=v{version}",
    "k8s.io/component-base/version.gitMajor={major}",
    "k8s.io/component-base/version.gitMinor={minor}",
)


def kubernetes(name: str) -> Binary:
    """One of Kubernetes' own commands."""
    return Binary(name=name, package=f"k8s.io/kubernetes/cmd/{name}", pin="k8s.io/kubernetes", stamps=KUBERNETES_STAMPS)


BINARIES: Final[tuple[Binary, ...]] = (
    Binary(name="etcd", package="go.etcd.io/etcd/server/v3", pin="go.etcd.io/etcd/server/v3"),
    kubernetes("kube-apiserver"),
    kubernetes("kube-controller-manager"),
    kubernetes("kube-scheduler"),
    kubernetes("kubectl"),
    Binary(
        name="kwok",
        package="sigs.k8s.io/kwok/cmd/kwok",
        pin="sigs.k8s.io/kwok",
        stamps=("sigs.k8s.io/kwok/pkg/consts.Version={version}",),
    ),
    Binary(
        name="prometheus",
        package="github.com/prometheus/prometheus/cmd/prometheus",
        pin="github.com/prometheus/prometheus",
        module=HERE / "prometheus",
        stamps=("github.com/prometheus/common/version.Version={version}",),
        # All the clouds' discoveries would triple the build; static, file and http ones are always there.
        tags=("remove_all_sd", "enable_kubernetes_sd"),
    ),
)
"""The control plane and what watches it."""


def keda(name: str) -> Binary:
    """One of KEDA's own commands, under a name that says whose it is."""
    pin = "github.com/kedacore/keda/v2"
    return Binary(
        name=f"keda-{name}",
        package=f"{pin}/cmd/{name}",
        pin=pin,
        module=HERE / "keda",
        stamps=(f"{pin}/version.Version={{version}}",),
    )


KEDA: Final[tuple[Binary, ...]] = (keda("operator"), keda("adapter"))
"""KEDA, with a cache key of its own: whoever does not need it need not wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder ``path`` of the source of the Go module ``pin``, which the go.mod in ``module`` requires."""

    name: str
    pin: str
    path: str
    module: Path


KEDA_KINDS: Final = Source(
    name="keda-kinds", pin="github.com/kedacore/keda/v2", path="config/crd/bases", module=HERE / "keda"
)
"""KEDA's CustomResourceDefinitions."""


def build_arguments(binary: Binary) -> list[str]:
    """The arguments of ``go`` that build ``binary``, but for where to put it."""
    version = pinned_version(binary)
    words = {"version": version, "major": version.split(".")[0], "minor": version.split(".")[1]}
    stamps = [f"-X {stamp.format_map(words)}" for stamp in binary.stamps]
    return [
        "build",
        "-trimpath",
        "-buildvcs=false",
        f"-tags={','.join(binary.tags)}",
        f"-ldflags={' '.join(['-s', '-w', *stamps])}",
        binary.package,
    ]


def source_key(source: Source) -> str:
    """A name that changes with the module that ``source`` is a folder of."""
    return hashlib.sha256((source.module / "go.sum").read_bytes()).hexdigest()[:16]


def pinned_version(binary: Binary) -> str:
    """The version that go.mod pins, without its v."""
    version = written_in(binary.module / "go.mod", rf"^\s*(?:require )?{re.escape(binary.pin)} v(\S+)")
    return prometheus_version(version) if binary.name == "prometheus" else version


def written_in(path: Path, pattern: str) -> str:
    """The one value that ``pattern`` finds in the file."""
    found = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{path} has no line like {pattern}")
    return found[1]


def prometheus_version(module_version: str) -> str:
    """Prometheus 3.13.5 is the module version 0.313.5, for Go would want another import path for a v3."""
    _, release, patch = module_version.split(".")
    return f"{int(release) // 100}.{int(release) % 100}.{patch}"


def cache_key(binaries: Sequence[Binary]) -> str:
    """A name that changes with all that goes into the binaries: the module files, the flags and the machine."""
    files = [binary.module / name for binary in binaries for name in ("go.mod", "go.sum")]
    flags = [["CGO_ENABLED=0", *build_arguments(binary)] for binary in binaries]
    parts = [*(path.read_text(encoding="utf-8") for path in files), repr(flags), platform.system(), platform.machine()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def missing_from(paths: Mapping[str, Path], binaries: Iterable[Binary]) -> list[Binary]:
    """The binaries that ``paths`` lacks, in the order in which they are built."""
    return [binary for binary in binaries if binary.name not in paths]
