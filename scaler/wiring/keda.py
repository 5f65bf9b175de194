"""`forebay keda`: the ScaledObjects that fit the policies of a file, as YAML to apply."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from scaler.adapters.keda.scaled_object import connection_of, scaled_objects
from scaler.api.documents import check_files
from scaler.api.faults import sentence
from scaler.api.keda import Keda
from scaler.api.v1alpha1 import ScalingPolicy
from scaler.core.model import Actuation
from scaler.wiring.errors import UserError

FLAGS: Final = {"scalerAddress": "--scaler-address", "tls": "--authentication"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The words of the command; what is left out is as the policy's spec.keda says.

    ``authentication`` names a TriggerAuthentication, with which the connection is encrypted too.
    """

    file: Path
    scaler_address: str | None = None
    is_encrypted: bool = False
    authentication: str | None = None


def printed(asked: Asked) -> str:
    """The ScaledObjects of each policy of a file, as YAML documents. Raises UserError."""
    checked = check_files([asked.file])
    if checked.faults:
        raise UserError("\n".join(str(fault) for fault in checked.faults))
    things = [thing for policy in checked.policies for thing in scaled_objects(policy, _keda(policy, asked))]
    return yaml.safe_dump_all(things, sort_keys=False, width=120, explicit_start=True)


def _keda(policy: ScalingPolicy, asked: Asked) -> Keda:
    name, actuation = f"{policy.metadata.namespace}/{policy.metadata.name}", policy.spec.actuation
    if actuation is not Actuation.KEDA:
        text = f"{name}: spec.actuation is {actuation.value}: set it to KEDA, or two would write one count"
        raise UserError(f"{asked.file}: {text}")
    stated = connection_of(policy).model_dump(by_alias=True, mode="json")
    try:
        return Keda.model_validate(stated | _said(asked, stated))
    except ValidationError as error:
        raise UserError("\n".join(_fault(each) for each in error.errors())) from error


def _said(asked: Asked, stated: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {} if asked.scaler_address is None else {"scalerAddress": asked.scaler_address}
    if asked.authentication is not None:
        return said | {"tls": {"authenticationRef": {"name": asked.authentication}}}
    return said | ({"tls": stated.get("tls") or {}} if asked.is_encrypted else {})


def _fault(error: ErrorDetails) -> str:
    return f"{FLAGS[str(error['loc'][0])]} = {error['input']!r}: {sentence(error)}"
