"""What holds for every test.

Hypothesis has no deadline, since a busy machine is no reason to fail; and in CI it draws the same examples every time.
A job in the background of a shell has Ctrl-C ignored, and so has whatever it starts: tests that send one would wait for
nothing.
"""

import os
import signal

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "unhurried")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
