"""The certificate that we show KEDA, and the authorities of its own: read anew when they change, without a restart."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from structlog.typing import FilteringBoundLogger

from scaler.adapters.keda.line import CertificateFiles


class CertificateError(Exception):
    """The files cannot be used, and the sentence says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    certificate: bytes
    key: bytes
    client_ca: bytes | None


@dataclass(slots=True, kw_only=True)
class Certificates:
    """What the files hold, as of the last time that it could be used. gRPC asks at each handshake, from its own thread.

    A pair that does not fit, as in the midst of a rotation, is told once, and the one before it goes on serving.
    """

    files: CertificateFiles
    log: FilteringBoundLogger
    _in_use: _Contents = field(init=False)
    _told: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Raises CertificateError when the files cannot be used."""
        self._in_use = self._read()
        _check(self.files, self._in_use.client_ca)

    def credentials(self) -> grpc.ServerCredentials:
        """What a gRPC server takes."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._in_use),
            self.changed,  # type: ignore[arg-type]  # None means no change, as grpc's own docstring says
            require_client_authentication=self.files.client_ca is not None,
        )

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What is to be used from now on, None while nothing new can be."""
        try:
            found = self._read()
            if found == self._in_use or not self._is_sound(found):
                return None
        except CertificateError as error:
            self._tell(str(error))
            return None
        self._in_use, self._told = found, None
        self.log.info("certificate_taken", file=str(self.files.certificate))
        return _configuration(found)

    def _is_sound(self, found: _Contents) -> bool:
        """Whether what was read is what was checked. Raises CertificateError where it cannot be used."""
        _check(self.files, found.client_ca)
        # OpenSSL checks files only; in the midst of a rotation it saw others, and the next handshake looks again.
        return self._read() == found

    def _tell(self, why: str) -> None:
        if why != self._told:
            self.log.warning("certificate_not_taken", why=why)
        self._told = why

    def _read(self) -> _Contents:
        files = self.files
        client_ca = None if files.client_ca is None else _bytes_of(files.client_ca)
        return _Contents(certificate=_bytes_of(files.certificate), key=_bytes_of(files.key), client_ca=client_ca)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read ({error.strerror})") from error


def _check(files: CertificateFiles, client_ca: bytes | None) -> None:
    """Raise CertificateError unless the key is the certificate's, and the authorities are certificates.

    gRPC itself would say nothing, and refuse every handshake.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise CertificateError(f"{files.certificate} and {files.key}: no certificate and its key ({error})") from error
    if client_ca is not None:
        try:
            context.load_verify_locations(cadata=client_ca.decode("ascii"))
        except (ValueError, OSError) as error:
            raise CertificateError(f"{files.client_ca}: holds no certificates of authorities ({error})") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one that is not")


def _configuration(contents: _Contents) -> grpc.ServerCertificateConfiguration:
    pair = (contents.key, contents.certificate)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=contents.client_ca)
