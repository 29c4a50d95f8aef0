"""A module that takes its time, as one with a large library does."""

import time

from demo_components.nodes import Relay

time.sleep(0.8)


class SlowImport(Relay):
    pass
