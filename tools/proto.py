"""Generate the messages and the service of KEDA's external scaler, with their types, from our .proto file.

The one argument is the directory to write below; the repository's own is `.`.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
SOURCE: Final = "scaler/adapters/keda/external_scaler.proto"
PLUGINS: Final = ("mypy", "mypy_grpc")


def generate(into: Path) -> None:
    """Write the generated files below ``into``, at the paths that they have in the repository."""
    beside = Path(sys.executable).parent
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}", f"--python_out={into}"]
    command += [f"--grpc_python_out={into}"]
    for plugin in PLUGINS:
        command += [f"--plugin=protoc-gen-{plugin}={beside / f'protoc-gen-{plugin}'}", f"--{plugin}_out=quiet:{into}"]
    subprocess.run([*command, SOURCE], check=True, cwd=ROOT)  # noqa: S603 - nothing in it is from outside


if __name__ == "__main__":
    generate(Path(sys.argv[1]).resolve())
