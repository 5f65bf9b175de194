"""One Prometheus server: how it is reached, one query at a time, and its faults as values.

No error of the client leaves this module, and no secret is put into a sentence: tokens and passwords are read from
their files for each request, so a rotated one counts at once, and are sent to the configured address alone.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from prometheus_api_client import PrometheusConnect
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.exceptions import HTTPError, NameResolutionError
from urllib3.util.retry import Retry

TENANT_HEADER: Final = "X-Scope-OrgID"
ANSWERED: Final = "answered"
DETAIL_LENGTH: Final = 200
QUERIES_AT_ONCE: Final = 10
"""Of one server, all that a tick asks; Prometheus itself takes 20 at once from all who ask."""


class Reads(Enum):
    """What a server may be asked for."""

    ENGINES = "engines"
    PICKER = "endpoint picker"
    GPUS = "GPUs"
    QUERIES = "the users' own queries"


class Reason(Enum):
    """Why a value is missing, as a metric's label: few, and stable."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    BAD_QUERY = "bad_query"
    BAD_ANSWER = "bad_answer"
    NO_SERIES = "no_series"
    WRONG_LABEL = "wrong_label"
    NOT_A_NUMBER = "not_a_number"
    STALE = "stale"
    ASLEEP = "asleep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """What could not be read: the reason for a counter, and the sentence for people."""

    reason: Reason
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a Prometheus (or what speaks its API) is, and what it is asked for.

    ``matchers`` are label matchers, ``cluster="eu",env="live"``, that every query of ours keeps to: a server that
    stores several clusters has pods of the same name. Either a token file or a user with a password file is given.
    Proxies and .netrc of the environment are not looked at: a secret goes where it is configured to go.
    """

    url: str
    reads: frozenset[Reads] = frozenset(Reads)
    matchers: str = ""
    token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    verify: bool = True
    tenant: str | None = None

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise ValueError("; ".join(faults))

    def _faults(self) -> Iterator[str]:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            yield "url: must be http:// or https:// and a host"
        if "@" in parts.netloc:
            yield "url: must not hold a password; give username and password_file"
        if (self.username is None) != (self.password_file is None):
            yield "username and password_file: must be given together"
        if self.token_file is not None and self.username is not None:
            yield "token_file: must be left out where username is given"
        if self.tenant is not None and not (self.tenant.isascii() and self.tenant.isprintable()):
            yield "tenant: must be printable ASCII, it is sent in a header"
        if self.key_file is not None and self.certificate_file is None:
            yield "key_file: must be left out without certificate_file"
        if self.ca_file is not None and not self.verify:
            yield "ca_file: must be left out where verify is false"


class _SecretError(Exception):
    """The file at ``path`` holds what no header can: told without it, for the client's own error would quote it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


def _secret(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise _SecretError(path) from None
    if not text.isprintable():
        raise _SecretError(path)
    return text


@dataclass(frozen=True, slots=True)
class _TokenFile(AuthBase):
    path: Path

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        token = _secret(self.path)
        if not token.isascii():
            raise _SecretError(self.path)
        request.headers["Authorization"] = f"Bearer {token}"
        return request


@dataclass(frozen=True, slots=True)
class _PasswordFile(AuthBase):
    username: str
    path: Path

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return HTTPBasicAuth(self.username.encode(), _secret(self.path).encode())(request)


class _StatusError(Exception):
    """An answer other than 200, met before the client makes a text of its whole body."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status)
        self.status = status
        self.detail = detail


class Prometheus:
    """Asks one server. Each query has a worker thread, and ends within ``timeout_s`` for the caller.

    The threads are this server's own: one that hangs must not keep the others from being asked. ``counted`` is told
    each query's outcome, in the event loop's thread.
    """

    def __init__(self, server: Server, timeout_s: float, counted: Callable[[str], None]) -> None:
        self.server = server
        self._counted = counted
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(max_workers=QUERIES_AT_ONCE, thread_name_prefix="prometheus")
        self._client = PrometheusConnect(
            url=server.url.rstrip("/"),
            headers={} if server.tenant is None else {TENANT_HEADER: server.tenant},
            auth=_auth(server),
            session=_session(server),
            # A query that failed is asked again in the next tick; a second try would take the tick's time.
            retry=Retry(total=0),
            timeout=timeout_s,
        )

    async def query(self, promql: str, at_s: float, limit: int | None = None) -> list[Any] | Lack:
        """The result of ``promql`` as of ``at_s``, as the API has it, or what is wrong.

        ``limit`` series are all that is wanted, where the server knows this parameter (Prometheus 3 does).
        """
        params = {
            "time": f"{at_s:.3f}",
            # In whole milliseconds: Prometheus reads no duration with a decimal point, and refuses 1.5s.
            "timeout": f"{max(1, round(self._timeout_s * 1000.0))}ms",
            # Thanos would leave out the stores that are down and call it a success: less work than there is.
            "partial_response": "false",
        }
        if limit is not None:
            params["limit"] = str(limit)
        result = await self._in_time(promql, params)
        self._counted(result.reason.value if isinstance(result, Lack) else ANSWERED)
        return result

    def close(self) -> None:
        """Give up the connections, and the queries that nobody waits for any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def _in_time(self, promql: str, params: Mapping[str, str]) -> list[Any] | Lack:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._asked, promql, params)
        except TimeoutError:
            return self._late()

    def _asked(self, promql: str, params: Mapping[str, str]) -> list[Any] | Lack:
        try:
            result: Any = self._client.custom_query(promql, params=dict(params))
        except _StatusError as error:
            return self._refused(error)
        except _SecretError as error:
            return self._lack(Reason.REFUSED, f"cannot be asked: {error.path} is not one line of plain text")
        except (OSError, HTTPError) as error:  # what requests raises is an OSError, what it forgets is urllib3's
            return self._unanswered(error)
        except (KeyError, TypeError, ValueError):
            return self._lack(Reason.BAD_ANSWER, "gave an answer that is not that of a query")
        if isinstance(result, list):
            return result
        return self._lack(Reason.BAD_ANSWER, "gave an answer that is not that of a query")

    def _refused(self, error: _StatusError) -> Lack:
        said = f"HTTP status {error.status}" + (f", {error.detail}" if error.detail else "")
        match error.status:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                return self._lack(Reason.REFUSED, f"refused us ({said}): its credentials or rights need a look")
            case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
                return self._lack(Reason.BAD_QUERY, f"cannot answer the query ({said})")
            case HTTPStatus.TOO_MANY_REQUESTS:
                return self._lack(Reason.REFUSED, f"refused us ({said}): too many queries for it")
            case _:
                return self._lack(Reason.BAD_ANSWER, f"failed ({said})")

    def _unanswered(self, error: Exception) -> Lack:
        match error:
            case requests.exceptions.JSONDecodeError():
                return self._lack(Reason.BAD_ANSWER, "gave an answer that is not JSON")
            case requests.exceptions.ChunkedEncodingError() | requests.exceptions.ContentDecodingError():
                return self._lack(Reason.BAD_ANSWER, "broke off in the middle of its answer")
            case requests.exceptions.TooManyRedirects():
                return self._lack(Reason.REFUSED, "sent us elsewhere, perhaps to a login page")
            case requests.exceptions.Timeout():
                return self._late()
            case _:
                return self._lack(Reason.UNREACHABLE, f"did not answer: {_cause(error)}")

    def _late(self) -> Lack:
        return self._lack(Reason.UNREACHABLE, f"did not answer within {self._timeout_s:g} s")

    def _lack(self, reason: Reason, what: str) -> Lack:
        return Lack(reason=reason, why=f"Prometheus at {self.server.url} {what}")


def _session(server: Server) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.max_redirects = 0
    session.verify = server.verify if server.ca_file is None else str(server.ca_file)
    if server.certificate_file is not None:
        own = str(server.certificate_file)
        session.cert = own if server.key_file is None else (own, str(server.key_file))
    session.hooks["response"] = [_only_success]
    return session


def _auth(server: Server) -> AuthBase | None:
    if server.token_file is not None:
        return _TokenFile(server.token_file)
    if server.username is not None and server.password_file is not None:
        return _PasswordFile(server.username, server.password_file)
    return None


def _only_success(response: requests.Response, **_: object) -> None:
    if response.status_code == HTTPStatus.OK or response.is_redirect:
        return
    with response:
        raise _StatusError(response.status_code, _detail(response))


def _detail(response: requests.Response) -> str:
    """What Prometheus itself says is wrong, in a line; nothing of a body that some proxy made."""
    try:
        said = response.json()["error"]
    except (OSError, KeyError, TypeError, ValueError):
        return ""
    return " ".join(str(said).split())[:DETAIL_LENGTH]


def _cause(error: BaseException) -> str:
    """The innermost reason in the system's words: the outer texts repeat addresses, objects and queries."""
    for inner in _chain(error):
        match inner:
            case NameResolutionError():
                return "its name cannot be resolved"
            case ssl.SSLCertVerificationError():
                return f"its certificate is not accepted ({inner.verify_message})"
            case ssl.SSLError():
                return "no TLS connection came about"
            case FileNotFoundError() | PermissionError() if inner.filename is not None:
                return f"{inner.filename} cannot be read"
            case OSError() if inner.strerror:
                return inner.strerror.lower()
            case _:
                continue
    return "the connection was lost"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it came from, innermost first: requests and urllib3 wrap in arguments, Python in contexts."""
    wrapped = [*error.args, getattr(error, "reason", None), error.__cause__, error.__context__]
    for inner in wrapped:
        if isinstance(inner, BaseException) and inner is not error:
            yield from _chain(inner)
    yield error
