"""The words of the API's fields: constrained numbers and strings, each with the limit it is refused by.

Every string and list here is bounded, because the API server prices CEL rules by the longest value that may come.
Values are taken strictly: "5" is not 5, and true is not 1.
"""

from typing import Annotated, Final

from pydantic import Field
from pydantic.fields import FieldInfo

MAX_REPLICAS: Final = 10_000
ONE_DAY_S: Final = 86_400

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_VALUE: Final = r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$"
API_VERSION: Final = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[0-9]+((alpha|beta)[0-9]+)?$"
KIND: Final = r"^[A-Z][A-Za-z0-9]*$"
CLOCK_TIME: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
TIME_ZONE: Final = r"^[A-Za-z][-A-Za-z0-9_+]*(/[A-Za-z0-9][-A-Za-z0-9_+]*){0,2}$"
HOST_AND_PORT: Final = (
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*:"
    r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"
)
NOT_BLANK: Final = r"\S"

PATTERN_SAYS: Final = {
    DNS_LABEL: "must be lower-case letters, digits and '-', and start and end with a letter or digit",
    DNS_NAME: "must be lower-case letters, digits, '-' and '.', and each part start and end with a letter or digit",
    LABEL_VALUE: "must be one line that does not start or end with a space",
    API_VERSION: "must be a group and version such as apps/v1",
    KIND: "must be a kind such as Deployment, in CamelCase",
    CLOCK_TIME: 'must be a wall-clock time from "00:00" to "23:59"',
    TIME_ZONE: "must be an IANA time zone such as Europe/Berlin or Etc/UTC",
    HOST_AND_PORT: "must be a host and a port such as forebay-scaler.forebay.svc:9443",
    NOT_BLANK: "must not be blank",
}
"""What each pattern asks for, in words."""

Count = Annotated[int, Field(strict=True, ge=0, le=MAX_REPLICAS)]
SomeReplicas = Annotated[int, Field(strict=True, ge=1, le=MAX_REPLICAS)]
Period = Annotated[int, Field(strict=True, ge=1, le=3600)]
Streak = Annotated[int, Field(strict=True, ge=1, le=100)]
Ratio = Annotated[float, Field(strict=True, ge=1, le=100)]
Port = Annotated[int, Field(strict=True, ge=1, le=65_535)]

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
DnsName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_NAME)]
LabelValue = Annotated[str, Field(min_length=1, max_length=253, pattern=LABEL_VALUE)]
ApiVersion = Annotated[str, Field(min_length=2, max_length=128, pattern=API_VERSION)]
Kind = Annotated[str, Field(min_length=1, max_length=63, pattern=KIND)]
HostAndPort = Annotated[str, Field(min_length=3, max_length=260, pattern=HOST_AND_PORT)]
PromQL = Annotated[str, Field(min_length=1, max_length=4096, pattern=NOT_BLANK)]
ClockTime = Annotated[str, Field(min_length=5, max_length=5, pattern=CLOCK_TIME)]
TimeZone = Annotated[str, Field(min_length=1, max_length=64, pattern=TIME_ZONE)]

ATOMIC: Final[FieldInfo] = Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})
SET: Final[FieldInfo] = Field(json_schema_extra={"x-kubernetes-list-type": "set"})


def keyed_by(*keys: str) -> FieldInfo:
    """Marks a list as a map by ``keys``, in which the API server refuses an entry that is there twice."""
    mark: FieldInfo = Field(
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    )
    return mark
