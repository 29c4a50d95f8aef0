"""The site's key, from a file that the site provides.

A plain file for its owner only, or a systemd credential (which systemd may keep sealed by the TPM).
"""

import contextlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
ID_BYTES = 8
_LONGEST_FILE = 1024


class SealError(ValueError):
    """A sealed file, or a key, is not what it must be; one sentence that names it."""


class NoKeyError(SealError):
    """The file is sealed, and the key for it is not here. Nothing is wrong with the file."""


@dataclass(frozen=True)
class Key:
    """A site's key. id: tells keys apart, and tells nothing of them."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise SealError(f'a key has {KEY_BYTES} bytes, not {len(self.secret)}')

    @property
    def id(self) -> bytes:
        return derived(self.secret, b'', b'spinal sealing: key id', ID_BYTES)

    @classmethod
    def read(cls, path: str | Path) -> 'Key':
        """From a file with 32 bytes, or as 64 hexadecimal digits. `$NAME` in the path is replaced.

        Raises SealError for what is no key, and for a file that others than its owner may read.
        systemd shows its credentials as readable for the group where it admits the service's user
        by an access list: below $CREDENTIALS_DIRECTORY that is no reason to refuse.
        """
        place = Path(os.path.expandvars(path)).expanduser()
        try:
            # A pipe would block here for ever.
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(descriptor, 'rb') as file:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode):
                    raise SealError(f'key file {place}: is not a file')
                others = 0o037 if _is_credential(place) else 0o077
                if found.st_mode & others:
                    raise SealError(f'key file {place}: others may read it (mode '
                                    f'{stat.S_IMODE(found.st_mode):04o}); chmod 600 it, and make '
                                    'another key if somebody could have')
                content = file.read(_LONGEST_FILE)
        except OSError as error:
            raise SealError(f'key file {place}: {error.strerror or error}') from None
        if len(content) == KEY_BYTES:
            return cls(content)
        with contextlib.suppress(ValueError):
            secret = bytes.fromhex(content.decode('ascii').strip())
            if len(secret) == KEY_BYTES:
                return cls(secret)
        raise SealError(f'key file {place}: must hold {KEY_BYTES} bytes, or {2 * KEY_BYTES} '
                        'hexadecimal digits (openssl rand -hex 32)')


def derived(secret: bytes, salt: bytes, purpose: bytes, length: int) -> bytes:
    """HKDF-SHA256 (RFC 5869); purpose is its `info`."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt or None, info=purpose).derive(secret)


def _is_credential(path: Path) -> bool:
    folder = os.environ.get('CREDENTIALS_DIRECTORY', '')
    return bool(folder) and path.resolve().is_relative_to(Path(folder).resolve())
