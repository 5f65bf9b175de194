"""The process's own settings: by flag, environment or file, complete and checked before anything starts.

A flag wins over the environment, the environment over the file: `--tick-seconds 10`, `FOREBAY_TICK_SECONDS=10` and
`tickSeconds: 10` in the file say the same. No setting may be called `port` or `service_*`: Kubernetes sets
FOREBAY_PORT and FOREBAY_SERVICE_HOST in every pod beside a Service named forebay.
"""

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError
from pydantic.alias_generators import to_snake
from pydantic_settings import BaseSettings, CliSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

PREFIX: Final = "FOREBAY_"
FILE_MOST_BYTES: Final = 2**20


class SettingsFaults(Exception):  # noqa: N818 - it carries all of them
    """What is wrong with the settings: a line each, which names the setting, the value and the limit."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def _split(value: object) -> object:
    """One text as a list of its parts between commas; an environment variable has no other way to hold several."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Texts = Annotated[list[str], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """What one controller process needs to know. Frozen; every default is here."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        cli_prog_name="forebay run",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_exit_on_error=False,
        cli_hide_none_type=True,
    )

    config: Path | None = Field(None, description="A YAML file of settings, in camelCase.")

    kubeconfig: Path | None = Field(None, description="A kubeconfig file; without one, the pod's own account.")
    context: str | None = Field(None, description="The kubeconfig's context; without one, its current one.")
    namespaces: Texts = Field([], description="Namespaces to work in; none means all of the cluster.")
    api_requests_per_second: int = Field(20, ge=1, le=1000, description="Budget of requests to the API server.")

    tick_seconds: float = Field(15, ge=1, le=300, description="Seconds between two decisions.")
    advise_only: bool = Field(
        default=False, description="Decide and say, for all policies, and write nothing but status."
    )

    prometheus_urls: Texts = Field(["http://localhost:9090"], min_length=1, description="Prometheus servers.")
    prometheus_matchers: str = Field("", description='Label matchers of every query, such as cluster="eu".')
    prometheus_timeout_seconds: float = Field(8, gt=0, le=300, description="Limit of a query; below the tick.")
    prometheus_bearer_token_file: Path | None = Field(None, description="File of a bearer token, read anew.")
    prometheus_username: str | None = Field(None, description="User of basic authentication.")
    prometheus_password_file: Path | None = Field(None, description="File of the password, read anew.")
    prometheus_ca_file: Path | None = Field(None, description="Authorities that sign the servers' certificates.")
    prometheus_client_certificate_file: Path | None = Field(None, description="Our certificate, for mutual TLS.")
    prometheus_client_key_file: Path | None = Field(None, description="The key of our certificate.")
    prometheus_tenant: str | None = Field(None, description="Value of the header X-Scope-OrgID.")

    lease_namespace: str = Field("forebay", description="Namespace of the Lease by which one of us acts.")
    lease_name: str = Field("forebay", description="Name of that Lease.")
    lease_seconds: float = Field(15, ge=3, le=300, description="Time after which a silent leader has lost the lease.")
    identity: str | None = Field(None, description="Our name in the Lease; without one, host and process.")

    listen_address: str = Field("0.0.0.0", description="Address of /metrics, /healthz, /readyz, /debug/plans.")  # noqa: S104 - a probe comes from the node, not from this host
    listen_on: int = Field(8081, ge=0, le=65535, description="Port of the same; 0 takes a free one.")

    keda_listen_on: int | None = Field(
        None, ge=0, le=65535, description="Port of KEDA's questions; 0 takes a free one, none answers nobody."
    )
    keda_listen_address: str = Field("0.0.0.0", description="Address of the same.")  # noqa: S104 - KEDA asks from another pod
    keda_certificate_file: Path | None = Field(None, description="Our certificate to KEDA; without one, plaintext.")
    keda_key_file: Path | None = Field(None, description="The key of it; both are read anew when they change.")
    keda_client_ca_file: Path | None = Field(
        None, description="Authorities that sign KEDA's certificate; with it nobody else is answered."
    )
    keda_connection_seconds: float = Field(
        300, ge=1, le=86_400, description="Age at which a connection ends, so that KEDA finds new replicas of us."
    )

    journal: Path = Field(Path("/var/lib/forebay/decisions.jsonl"), description="The journal's file.")
    journal_most_mib: int = Field(64, ge=1, le=10_000, description="Size at which the journal is rotated.")
    journal_kept: int = Field(8, ge=1, le=1000, description="Rotated files that stay.")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags come first and are put there by pydantic; then the environment, then the file's values."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def settings_from(words: Sequence[str]) -> Settings:
    """The settings of a process called with ``words``. Raises SettingsFaults, with all that is wrong."""
    try:
        flags: CliSettingsSource[Any] = CliSettingsSource(Settings, cli_parse_args=list(words))
        settings = Settings(_cli_settings_source=flags, **_file_values(_file_named(words)))
    except SettingsError as error:
        raise SettingsFaults([str(error).removeprefix("error parsing CLI: ")]) from error
    except ValidationError as error:
        raise SettingsFaults([_fault(each) for each in error.errors()]) from error
    faults = _beyond_one_setting(settings)
    if faults:
        raise SettingsFaults(faults)
    return settings


def _file_named(words: Sequence[str]) -> Path | None:
    """The file that ``--config`` names, or the environment: it must be read before all else is."""
    for word, following in pairwise([*words, ""]):
        if word == "--config":
            return Path(following)
        if word.startswith("--config="):
            return Path(word.removeprefix("--config="))
    named = os.environ.get(f"{PREFIX}CONFIG")
    return None if named is None else Path(named)


def _file_values(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        text = path.read_bytes()[: FILE_MOST_BYTES + 1]
        values = yaml.safe_load(text) if len(text) <= FILE_MOST_BYTES else "more than a mapping"
    except OSError as error:
        raise SettingsFaults([f"--config {path}: cannot be read ({error.strerror})"]) from error
    except yaml.YAMLError as error:
        raise SettingsFaults([f"--config {path}: not YAML ({' '.join(str(error).split())})"]) from error
    if not isinstance(values, Mapping):
        raise SettingsFaults([f"--config {path}: must be a mapping of settings, of at most {FILE_MOST_BYTES} bytes"])
    return {to_snake(str(key)): value for key, value in values.items()}


def _fault(error: Any) -> str:
    name = "-".join(str(part) for part in error["loc"][:1]).replace("_", "-")
    if error["type"] == "extra_forbidden":
        return f"--{name}: there is no such setting"
    return f"--{name} = {error['input']!r}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _beyond_one_setting(settings: Settings) -> list[str]:
    """What is wrong between settings: limits that hang on each other, and secrets that come in halves."""
    faults = []
    if settings.prometheus_timeout_seconds >= settings.tick_seconds:
        limit = f"--tick-seconds ({settings.tick_seconds:g}), or a slow server costs ticks"
        faults.append(f"--prometheus-timeout-seconds = {settings.prometheus_timeout_seconds:g}: must be below {limit}")
    pairs = (
        ("prometheus_username", "prometheus_password_file"),
        ("prometheus_client_certificate_file", "prometheus_client_key_file"),
        ("keda_certificate_file", "keda_key_file"),
    )
    for one, other in pairs:
        if (getattr(settings, one) is None) != (getattr(settings, other) is None):
            missing, given = (one, other) if getattr(settings, one) is None else (other, one)
            faults.append(f"--{missing.replace('_', '-')}: is required with --{given.replace('_', '-')}")
    if settings.prometheus_bearer_token_file is not None and settings.prometheus_username is not None:
        faults.append("--prometheus-bearer-token-file: must be left out with --prometheus-username")
    return [*faults, *_keda_faults(settings)]


def _keda_faults(settings: Settings) -> list[str]:
    faults = []
    if settings.keda_client_ca_file is not None and settings.keda_certificate_file is None:
        faults.append(
            "--keda-client-ca-file: is of no use without --keda-certificate-file, since the line is plaintext"
        )
    if settings.keda_listen_on is None and settings.keda_certificate_file is not None:
        faults.append("--keda-listen-on: is required with --keda-certificate-file")
    if settings.keda_listen_on == settings.listen_on != 0:
        faults.append(f"--keda-listen-on = {settings.keda_listen_on}: must differ from --listen-on")
    return faults
