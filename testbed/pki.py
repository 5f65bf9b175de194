"""Keys and certificates of one run, made by the ``openssl`` program: nothing of them outlives the run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.commands import run

# The system's own openssl.cnf differs by distribution, and its extensions would be added to ours.
CONFIGURATION: Final = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1, DNS:localhost, DNS:kubernetes.default.svc
[client]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth
[peer]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth, clientAuth
"""

P256: Final = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """All that the control plane proves itself with.

    ``server`` serves the API and every other part. ``front_proxy`` is how the API server introduces a caller to an
    extension API server; without it an adapter would see every caller as anonymous. Of
    ``service_accounts`` the certificate only carries the public key, the one form of it that every part reads.
    """

    authority: Pair
    server: Pair
    front_proxy: Pair
    service_accounts: Pair


def make_keys(folder: Path) -> Keys:
    """Make all keys in ``folder``."""
    authority = make_authority(folder)
    return Keys(
        authority=authority,
        server=make_pair(folder, "kube-apiserver", "server", authority),
        front_proxy=make_pair(folder, "front-proxy", "client", authority),
        service_accounts=make_pair(folder, "service-accounts", "client", None),
    )


def make_authority(folder: Path) -> Pair:
    """A new authority in the new ``folder``, where `make_pair` then makes what it signs."""
    folder.mkdir(mode=0o700)
    (folder / "openssl.cnf").write_text(CONFIGURATION, encoding="utf-8")
    return make_pair(folder, "authority", "authority", None)


def make_pair(folder: Path, name: str, use: str, signer: Pair | None, also: str = "") -> Pair:
    """A fresh key and a certificate for it, signed by ``signer`` or by itself.

    ``use`` is a section above; ``also`` are its names as openssl writes them, where the section has none:
    "DNS:scaler.forebay.svc,IP:127.0.0.1".
    """
    pair = Pair(certificate=folder / f"{name}.crt", key=folder / f"{name}.key")
    signed = [] if signer is None else ["-CA", str(signer.certificate), "-CAkey", str(signer.key)]
    named = ["-addext", f"subjectAltName={also}"] if also else []
    request = ["openssl", "req", "-x509", "-config", str(folder / "openssl.cnf"), "-extensions", use, *named]
    key = ["-newkey", *P256, "-noenc", "-keyout", str(pair.key)]
    run([*request, *key, *signed, "-subj", f"/CN={name}", "-days", "30", "-out", str(pair.certificate)])
    return pair
