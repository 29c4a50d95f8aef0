"""What can go wrong on the way to a bucket, by name. Nothing is lost by any of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from edge_case_recorder.site_key import Key


class Trouble(StrEnum):
    """Why an upload did not happen, and so what happens next."""

    UNREACHABLE = 'unreachable'        # network, server, too many requests: try again, backing off
    EXPIRED = 'expired'                # the upload's session is gone: the object begins anew
    CREDENTIALS = 'credentials'        # missing, expired, revoked: everything waits
    CLOCK = 'clock'                    # this machine's clock is so wrong that nobody trusts it
    NO_BUCKET = 'no_bucket'            # everything waits until it is there
    FULL = 'full'                      # quota, billing, a full disk: everything waits
    CONFLICT = 'conflict'              # another object has the name: a person must look
    DAMAGED = 'damaged'                # the file differs from its manifest: a person must look
    REFUSED = 'refused'                # the server will not have this object: it waits, others go
    SEALED = 'sealed'                  # its key is not here: it waits, others go


# The case is marked as failed and the next one goes on.
PERSON_MUST_LOOK = (Trouble.CONFLICT, Trouble.DAMAGED)
# The case is set aside for a while and the next one goes on.
SET_ASIDE = (Trouble.REFUSED, Trouble.SEALED)


class StoreError(RuntimeError):
    """An upload or a look failed; `trouble` says which kind it is.

    retry_after_s: how long the server asks to be left alone, if it does.
    """

    def __init__(self, trouble: Trouble, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f'{trouble}: {message}')
        self.trouble = trouble
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class ObjectInfo:
    """What a store says of an object: its size, and its crc32c in Base64."""

    bytes: int
    crc32c: str


@dataclass(frozen=True)
class Item:
    """A file that is to become the object `name` (relative to the store's prefix).

    bytes, crc32c: of the object, which is the plaintext where the file is sealed.
    keys: for a sealed file.
    """

    name: str
    path: Path
    bytes: int
    crc32c: str
    content_type: str
    keys: tuple[Key, ...] = field(default=(), repr=False)
