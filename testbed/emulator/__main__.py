"""``python -m testbed.emulator``: a cluster with an emulated fleet under load, until Ctrl-C."""

from testbed.emulator.dev import dev

if __name__ == "__main__":
    dev()
