"""How a server is reached: what is sent, to whom, and that no secret comes out in words."""

import base64
import ssl
from pathlib import Path

import pytest

from scaler.adapters.prometheus import Server
from scaler.core.model import Load, Missing
from testbed.pki import Keys, make_keys
from tests.adapters.prometheus.conftest import Reader
from tests.adapters.prometheus.fake_api import FakePrometheus, asked, serving, status

SECRET = "s3cret-of-the-token"  # noqa: S105 - a secret to look for


async def read_by(server: Server) -> Missing | Load:
    reader = Reader(server)
    try:
        return (await reader.answer(asked("a"))).loads["a"]
    finally:
        reader.signals.close()


async def test_a_token_is_read_anew_for_each_tick(prometheus: FakePrometheus, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n", encoding="utf-8")
    reader = Reader(Server(url=prometheus.url, token_file=token))

    await reader.answer(asked("a"))
    before = {headers["Authorization"] for _, headers in prometheus.requests}
    prometheus.requests.clear()
    token.write_text("second\n", encoding="utf-8")
    await reader.answer(asked("a"))

    reader.signals.close()
    assert before == {"Bearer first"}
    assert {headers["Authorization"] for _, headers in prometheus.requests} == {"Bearer second"}


async def test_a_user_and_a_password_file_make_basic_auth(prometheus: FakePrometheus, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("pass:wörd\n", encoding="utf-8")

    await read_by(Server(url=prometheus.url, username="forebay", password_file=password))

    sent = prometheus.requests[0][1]["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent).decode() == "forebay:pass:wörd"


async def test_the_tenant_is_sent_as_a_header(prometheus: FakePrometheus) -> None:
    await read_by(Server(url=prometheus.url, tenant="team-a"))

    assert {headers["X-Scope-OrgID"] for _, headers in prometheus.requests} == {"team-a"}


async def test_the_environments_netrc_is_not_looked_at(
    prometheus: FakePrometheus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login somebody password {SECRET}\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    await read_by(Server(url=prometheus.url))

    assert all("Authorization" not in headers for _, headers in prometheus.requests)
    assert prometheus.requests


@pytest.mark.parametrize("code", [401, 500])
async def test_no_secret_comes_out_in_a_sentence(prometheus: FakePrometheus, tmp_path: Path, code: int) -> None:
    token = tmp_path / "token"
    token.write_text(SECRET, encoding="utf-8")
    prometheus.instead = status(code, f"you sent {SECRET}")

    told = await read_by(Server(url=prometheus.url, token_file=token))

    assert isinstance(told, Missing)
    assert SECRET not in told.why


async def test_a_token_that_breaks_the_header_is_told_without_it(prometheus: FakePrometheus, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{SECRET}\nsecond line", encoding="utf-8")

    told = await read_by(Server(url=prometheus.url, token_file=token))

    assert told == Missing(why=f"Prometheus at {prometheus.url} cannot be asked: {token} is not one line of plain text")


async def test_a_token_file_that_is_not_there_is_named(prometheus: FakePrometheus, tmp_path: Path) -> None:
    told = await read_by(Server(url=prometheus.url, token_file=tmp_path / "token"))

    assert told == Missing(why=f"Prometheus at {prometheus.url} did not answer: {tmp_path / 'token'} cannot be read")


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"url": "prometheus:9090"}, "url: must be http:// or https:// and a host"),
        ({"url": f"http://me:{SECRET}@prometheus"}, "url: must not hold a password; give username and password_file"),
        ({"username": "me"}, "username and password_file: must be given together"),
        (
            {"username": "me", "password_file": Path("p"), "token_file": Path("t")},
            "token_file: must be left out where username is given",
        ),
        ({"tenant": "a\nb"}, "tenant: must be printable ASCII, it is sent in a header"),
        ({"key_file": Path("k")}, "key_file: must be left out without certificate_file"),
        ({"ca_file": Path("c"), "verify": False}, "ca_file: must be left out where verify is false"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=r"must") as error:
        Server(**({"url": "http://prometheus"} | settings))  # type: ignore[arg-type]

    assert str(error.value) == fault


# --- TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys") / "made")


def tls(keys: Keys, *, asks_for_a_client: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(keys.server.certificate, keys.server.key)
    if asks_for_a_client:
        context.load_verify_locations(keys.authority.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_a_server_of_our_own_authority_is_trusted(keys: Keys) -> None:
    async with serving(FakePrometheus(), tls(keys, asks_for_a_client=False)) as fake:
        fake.pod("a")

        told = await read_by(Server(url=fake.url, ca_file=keys.authority.certificate))

    assert isinstance(told, Load)


async def test_a_server_of_an_unknown_authority_is_not(keys: Keys) -> None:
    async with serving(FakePrometheus(), tls(keys, asks_for_a_client=False)) as fake:
        told = await read_by(Server(url=fake.url))

    assert isinstance(told, Missing)
    assert "did not answer: its certificate is not accepted (" in told.why


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
async def test_verification_can_be_given_up(keys: Keys) -> None:
    async with serving(FakePrometheus(), tls(keys, asks_for_a_client=False)) as fake:
        fake.pod("a")

        told = await read_by(Server(url=fake.url, verify=False))

    assert isinstance(told, Load)


async def test_a_client_certificate_is_shown_to_a_server_that_asks_for_one(keys: Keys) -> None:
    async with serving(FakePrometheus(), tls(keys, asks_for_a_client=True)) as fake:
        fake.pod("a")
        known = Server(
            url=fake.url,
            ca_file=keys.authority.certificate,
            certificate_file=keys.front_proxy.certificate,
            key_file=keys.front_proxy.key,
        )

        told = await read_by(known)
        without = await read_by(Server(url=fake.url, ca_file=keys.authority.certificate))

    assert isinstance(told, Load)
    assert isinstance(without, Missing)
