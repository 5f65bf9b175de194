"""Our messages on the wire, byte by byte as the field table of KEDA's protocol gives them, and the generated code.

The bytes are written by hand: a tag is (field number << 3 | wire type), wire type 0 a varint, 1 eight bytes, 2 a length
and so many bytes. A round trip through our own stubs would agree with any numbers.
"""

import subprocess
import sys
from pathlib import Path
from struct import pack

import pytest
from google.protobuf.message import Message

from scaler.adapters.keda import external_scaler_pb2
from scaler.adapters.keda.answers import specification, value
from scaler.adapters.keda.contract import METRIC_NAME, SERVICE
from scaler.adapters.keda.external_scaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
    ScaledObjectRef,
)
from tests.adapters.keda.asking import World, answering, connected

ROOT = Path(__file__).parents[3]

NAME, NAMESPACE = b"\x0a\x04chat", b"\x12\x06models"
ENTRY = b"\x1a\x0f" + b"\x0a\x06policy" + b"\x12\x05llama"
REF = NAME + NAMESPACE + ENTRY
SPEC = b"\x0a\x01m" + b"\x10\x01" + b"\x19" + pack("<d", 1.0)
VALUE = b"\x0a\x01m" + b"\x10\x15" + b"\x19" + pack("<d", 21.0)

OBJECT = ScaledObjectRef(name="chat", namespace="models", scalerMetadata={"policy": "llama"})
BYTES = [
    (OBJECT, REF),
    (IsActiveResponse(result=True), b"\x08\x01"),
    (MetricSpec(metricName="m", targetSize=1, targetSizeFloat=1.0), SPEC),
    (
        GetMetricSpecResponse(metricSpecs=[MetricSpec(metricName="m", targetSize=1, targetSizeFloat=1.0)]),
        b"\x0a\x0e" + SPEC,
    ),
    (GetMetricsRequest(scaledObjectRef=OBJECT, metricName="m"), b"\x0a\x1f" + REF + b"\x12\x01m"),
    (MetricValue(metricName="m", metricValue=21, metricValueFloat=21.0), VALUE),
    (
        GetMetricsResponse(metricValues=[MetricValue(metricName="m", metricValue=21, metricValueFloat=21.0)]),
        b"\x0a\x0e" + VALUE,
    ),
]


@pytest.mark.parametrize(("message", "golden"), BYTES, ids=[type(message).__name__ for message, _ in BYTES])
def test_a_message_has_the_bytes_of_the_field_table(message: Message, golden: bytes) -> None:
    assert message.SerializeToString(deterministic=True) == golden
    assert type(message).FromString(golden) == message


def test_every_message_and_no_other_field_is_tried_above() -> None:
    tried = {type(message).DESCRIPTOR.full_name: message for message, _ in BYTES}

    assert set(tried) == {f"externalscaler.{name}" for name in external_scaler_pb2.DESCRIPTOR.message_types_by_name}
    for message in tried.values():
        assert {field.name for field, _ in message.ListFields()} == set(type(message).DESCRIPTOR.fields_by_name)


def test_the_calls_are_those_of_the_protocol_and_in_its_package() -> None:
    service = external_scaler_pb2.DESCRIPTOR.services_by_name["ExternalScaler"]

    assert service.full_name == SERVICE == "externalscaler.ExternalScaler"
    assert [
        (call.name, call.input_type.name, call.output_type.name, call.server_streaming) for call in service.methods
    ] == [
        ("IsActive", "ScaledObjectRef", "IsActiveResponse", False),
        ("StreamIsActive", "ScaledObjectRef", "IsActiveResponse", True),
        ("GetMetricSpec", "ScaledObjectRef", "GetMetricSpecResponse", False),
        ("GetMetrics", "GetMetricsRequest", "GetMetricsResponse", False),
        ("StreamMetricSpec", "ScaledObjectRef", "GetMetricSpecResponse", True),
    ]


async def test_bytes_alone_are_answered_with_bytes() -> None:
    asked = NAME + NAMESPACE + ENTRY + b"\x1a\x0d" + b"\x0a\x07version" + b"\x12\x02v1"
    metric = METRIC_NAME.encode()
    named = b"\x0a" + bytes([len(metric)]) + metric
    body = named + b"\x10\x15" + b"\x19" + pack("<d", 21.0)
    async with answering(World()) as listening, connected(listening.port) as channel:
        call = channel.unary_unary("/externalscaler.ExternalScaler/GetMetrics", None, None)

        answer = await call(b"\x0a" + bytes([len(asked)]) + asked + b"\x12" + named[1:])

    assert answer == b"\x0a" + bytes([len(body)]) + body


def test_both_numbers_of_target_and_value_are_filled() -> None:
    (spec,), (told,) = specification().metricSpecs, value(7).metricValues

    assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == (METRIC_NAME, 1, 1.0)
    assert (told.metricName, told.metricValue, told.metricValueFloat) == (METRIC_NAME, 7, 7.0)


def test_the_metrics_name_survives_the_hpa() -> None:
    assert set(METRIC_NAME) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_the_generated_code_is_that_of_the_proto_file(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "tools" / "proto.py"), str(tmp_path)], check=True)

    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.py*")}
    assert len(made) == 4
    for path, text in made.items():
        assert (ROOT / path).read_text() == text, f"{path}: run `make proto`"
