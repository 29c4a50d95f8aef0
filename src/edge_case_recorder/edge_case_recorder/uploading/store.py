"""What every store of cases offers, whatever is behind it."""

from typing import Protocol

from edge_case_recorder.uploading.trouble import Item, ObjectInfo
from edge_case_recorder.uploading.wall_clock import WallClock


class Sending(Protocol):
    """One object on its way."""

    item: Item

    @property
    def persisted(self) -> int:
        """How many bytes are known to be there."""

    def step(self) -> ObjectInfo | None:
        """Send at most one chunk; what has the name, once something has all of it.

        Raises StoreError. Left at any time, also by kill -9, it goes on where it was.
        """


class Store(Protocol):
    """One bucket and prefix. Names are relative to the prefix, with slashes."""

    url: str
    clock: WallClock

    def sending(self, item: Item) -> Sending:
        """The object's way into the store, going on from an earlier process."""

    def stat(self, name: str) -> ObjectInfo | None:
        """What the store says of an object; None when there is none."""

    def get(self, name: str) -> bytes:
        """An object's content, checked on the way."""

    def learn_time(self) -> None:
        """Ask for the time of day, for `clock`."""
