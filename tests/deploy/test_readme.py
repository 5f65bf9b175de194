"""What README.md tells a newcomer to do and to read is there."""

import re
from pathlib import Path
from typing import Final

import pytest

from scaler.cli import app
from scaler.wiring.telling import validated

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = (ROOT / "README.md").read_text(encoding="utf-8")
LINKED: Final = sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT)))
BLOCKS: Final = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("place", LINKED)
def test_what_it_links_to_is_there(place: str) -> None:
    assert (ROOT / place).exists()


def test_its_policy_is_sound(tmp_path: Path) -> None:
    (block,) = BLOCKS
    (tmp_path / "policy.yaml").write_text(block, encoding="utf-8")

    report = validated([tmp_path / "policy.yaml"])

    assert (report.faults, report.names) == ((), ("models/llama",))


def test_the_targets_and_commands_that_it_names_are_there() -> None:
    targets = re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    commands = [info.callback.__name__ for info in app.registered_commands if info.callback is not None]

    assert set(re.findall(r"(?:^    |`)make ([a-z0-9-]+)", TEXT, re.MULTILINE)) <= set(targets)
    assert set(re.findall(r"bin/forebay ([a-z]+)", TEXT)) <= set(commands)
