"""Who is believed: TLS, mutual TLS, and certificates that are changed under a running server."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from structlog.testing import CapturingLogger

from scaler.adapters.keda.certificates import CertificateError, Certificates
from scaler.adapters.keda.line import CertificateFiles
from scaler.adapters.keda.listening import Listening
from testbed.commands import run
from testbed.pki import CONFIGURATION, Pair, make_pair
from tests.adapters.keda.asking import WITHIN_S, World, answering, connected, heard, ref, stub

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by openssl")


@dataclass
class Shop:
    """Makes authorities and what they sign, and lays out what a server is to use."""

    folder: Path
    log: Any = field(default_factory=CapturingLogger)
    made: int = 0

    def authority(self) -> Pair:
        return self._pair("authority", None)

    def server(self, authority: Pair) -> Pair:
        return self._pair("server", authority)

    def client(self, authority: Pair) -> Pair:
        return self._pair("client", authority)

    def _pair(self, use: str, signer: Pair | None) -> Pair:
        self.made += 1
        (self.folder / "openssl.cnf").write_text(CONFIGURATION, encoding="utf-8")
        return make_pair(self.folder, f"{use}-{self.made}", use, signer)

    def lay_out(self, certificate: Path, key: Path, client_ca: Path | None = None) -> CertificateFiles:
        """Put these where the server looks, in the one step in which the kubelet changes a Secret's files."""
        self.made += 1
        fresh = self.folder / f"mounted-{self.made}"
        fresh.mkdir()
        shutil.copy(certificate, fresh / "tls.crt")
        shutil.copy(key, fresh / "tls.key")
        if client_ca is not None:
            shutil.copy(client_ca, fresh / "ca.crt")
        link = self.folder / f"link-{self.made}"
        link.symlink_to(fresh)
        link.rename(self.folder / "mounted")
        at = self.folder / "mounted"
        return CertificateFiles(
            certificate=at / "tls.crt", key=at / "tls.key", client_ca=None if client_ca is None else at / "ca.crt"
        )

    def certificates(self, files: CertificateFiles) -> Certificates:
        return Certificates(files=files, log=self.log)

    def events(self) -> list[str]:
        return [str(call.args[0]) for call in self.log.calls]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(folder=tmp_path)


def trusting(authority: Pair, own: Pair | None = None) -> grpc.ChannelCredentials:
    """What KEDA connects with, given its caCert, and its tlsClientCert and tlsClientKey."""
    roots = authority.certificate.read_bytes()
    if own is None:
        return grpc.ssl_channel_credentials(roots)
    return grpc.ssl_channel_credentials(roots, own.key.read_bytes(), own.certificate.read_bytes())


async def is_answered(listening: Listening, credentials: grpc.ChannelCredentials | None) -> bool:
    """Whether a new connection is answered; False where the handshake fails."""
    async with connected(listening.port, credentials) as channel:
        try:
            return (await stub(channel).IsActive(ref(), timeout=WITHIN_S)).result
        except grpc.aio.AioRpcError as error:
            if error.code() is not StatusCode.UNAVAILABLE:
                raise
            return False


async def test_over_tls_the_server_shows_its_certificate(shop: Shop) -> None:
    ours, another = shop.authority(), shop.authority()
    pair = shop.server(ours)
    files = shop.lay_out(pair.certificate, pair.key)
    async with answering(World(), shop.certificates(files)) as listening:
        assert await is_answered(listening, trusting(ours))
        assert not await is_answered(listening, trusting(another))
        assert not await is_answered(listening, None)


async def test_over_mutual_tls_only_a_client_of_the_authority_is_answered(shop: Shop) -> None:
    ours, theirs, another = shop.authority(), shop.authority(), shop.authority()
    pair = shop.server(ours)
    files = shop.lay_out(pair.certificate, pair.key, theirs.certificate)
    async with answering(World(), shop.certificates(files)) as listening:
        assert await is_answered(listening, trusting(ours, shop.client(theirs)))
        assert not await is_answered(listening, trusting(ours, shop.client(another)))
        assert not await is_answered(listening, trusting(ours))


async def test_a_rotated_certificate_is_shown_to_the_next_connection_and_costs_no_other(shop: Shop) -> None:
    before, after = shop.authority(), shop.authority()
    old, new = shop.server(before), shop.server(after)
    files = shop.lay_out(old.certificate, old.key)
    async with (
        answering(World(), shop.certificates(files)) as listening,
        connected(listening.port, trusting(before)) as standing,
    ):
        stream: Any = stub(standing).StreamMetricSpec(ref())
        await heard(stream)

        shop.lay_out(new.certificate, new.key)

        assert await is_answered(listening, trusting(after))
        assert not await is_answered(listening, trusting(before))
        assert (await stub(standing).IsActive(ref())).result is True
        assert not stream.done()
    assert shop.events() == ["certificate_taken"]


async def test_rotated_authorities_of_clients_are_taken_too(shop: Shop) -> None:
    ours, before, after = shop.authority(), shop.authority(), shop.authority()
    pair = shop.server(ours)
    files = shop.lay_out(pair.certificate, pair.key, before.certificate)
    async with answering(World(), shop.certificates(files)) as listening:
        assert await is_answered(listening, trusting(ours, shop.client(before)))

        shop.lay_out(pair.certificate, pair.key, after.certificate)

        assert await is_answered(listening, trusting(ours, shop.client(after)))
        assert not await is_answered(listening, trusting(ours, shop.client(before)))


async def test_a_pair_that_does_not_fit_is_told_once_and_the_one_before_it_serves_on(shop: Shop) -> None:
    ours = shop.authority()
    old, new = shop.server(ours), shop.server(ours)
    files = shop.lay_out(old.certificate, old.key)
    async with answering(World(), shop.certificates(files)) as listening:
        shop.lay_out(new.certificate, old.key)
        assert await is_answered(listening, trusting(ours))
        assert await is_answered(listening, trusting(ours))
        assert shop.events() == ["certificate_not_taken"]

        shop.lay_out(new.certificate, new.key)
        assert await is_answered(listening, trusting(ours))
    assert shop.events() == ["certificate_not_taken", "certificate_taken"]


async def test_files_that_are_gone_cost_nothing_while_it_runs(shop: Shop) -> None:
    ours = shop.authority()
    pair = shop.server(ours)
    files = shop.lay_out(pair.certificate, pair.key)
    async with answering(World(), shop.certificates(files)) as listening:
        (shop.folder / "mounted").unlink()

        assert await is_answered(listening, trusting(ours))


def no_certificate(shop: Shop, pair: Pair) -> CertificateFiles:
    (shop.folder / "empty").write_bytes(b"")
    return shop.lay_out(shop.folder / "empty", pair.key)


def another_key(shop: Shop, pair: Pair) -> CertificateFiles:
    return shop.lay_out(pair.certificate, shop.authority().key)


def no_file(shop: Shop, pair: Pair) -> CertificateFiles:
    return CertificateFiles(certificate=pair.certificate, key=shop.folder / "nowhere")


def no_authority(shop: Shop, pair: Pair) -> CertificateFiles:
    return shop.lay_out(pair.certificate, pair.key, pair.key)


@pytest.mark.parametrize(
    ("laid_out", "tells"),
    [
        (no_certificate, "tls.key: no certificate and its key"),
        (another_key, "tls.key: no certificate and its key"),
        (no_file, r"nowhere: cannot be read \(No such file or directory\)"),
        (no_authority, "ca.crt: holds no certificates of authorities"),
    ],
)
def test_files_that_cannot_be_used_are_refused_at_the_start(
    shop: Shop, laid_out: Callable[[Shop, Pair], CertificateFiles], tells: str
) -> None:
    files = laid_out(shop, shop.server(shop.authority()))

    with pytest.raises(CertificateError, match=tells) as told:
        shop.certificates(files)

    assert "PRIVATE" not in str(told.value)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(shop: Shop) -> None:
    pair = shop.server(shop.authority())
    encrypted = shop.folder / "encrypted.key"
    run(["openssl", "pkey", "-in", str(pair.key), "-aes256", "-passout", "pass:x", "-out", str(encrypted)])

    with pytest.raises(CertificateError, match="the key is encrypted; give one that is not"):
        shop.certificates(shop.lay_out(pair.certificate, encrypted))
