"""A module that takes its time, as one with a large library does."""

import time

from demo_components.nodes import Relay

time.sleep(1.5)


class SlowImport(Relay):
    pass
