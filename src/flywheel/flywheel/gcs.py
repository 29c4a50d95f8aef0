"""Buckets of Google Cloud Storage, with whoever is logged in on this machine."""

import os
from typing import Any


class BucketError(OSError):
    """Nobody is logged in here; the message is one sentence."""


def open_bucket(name: str, client: Any = None) -> Any:
    """A `google.cloud.storage.Bucket`; nothing is asked of it yet. Raises BucketError.

    client: another than this machine's. STORAGE_EMULATOR_HOST is heeded, and needs nobody.
    """
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import storage
    try:
        if client is None and os.environ.get('STORAGE_EMULATOR_HOST'):
            client = storage.Client.create_anonymous_client()
        return (client or storage.Client()).bucket(name)
    except (GoogleAuthError, OSError) as error:
        raise BucketError(str(error).splitlines()[0]) from error
