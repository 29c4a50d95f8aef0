"""One case on its way: its files as the manifest lists them, and the manifest last.

The manifest in the bucket is the commit mark: who finds it finds everything that it names.
"""

from collections.abc import Sequence
from pathlib import Path

from edge_case_recorder import manifest
from edge_case_recorder.sealing import lying, plain_size
from edge_case_recorder.site_key import Key, NoKeyError, SealError
from edge_case_recorder.uploading.store import Sending, Store
from edge_case_recorder.uploading.trouble import Item, StoreError, Trouble

_TYPES = {'.mcap': 'application/octet-stream', '.yaml': 'application/yaml',
          '.json': 'application/json'}


class CaseUpload:
    """Raises ManifestError when the case has no manifest that can be read.

    What is sealed in the spool is sent as it was before: the bucket's objects are what the manifest
    describes, whoever sealed them.
    """

    def __init__(self, folder: Path, store: Store, keys: Sequence[Key] = ()) -> None:
        self.folder = folder
        self._keys = tuple(keys)
        self.content = manifest.read(folder)
        self.objects = manifest.object_folder(self.content)
        self.bytes = sum(entry['bytes'] for entry in self.content['files'])
        self.sending: Sending | None = None
        self._store = store
        self._left = [entry['path'] for entry in self.content['files']] + [manifest.MANIFEST]
        self._arrived = 0

    @property
    def persisted(self) -> int:
        """How many of the case's bytes are known to be in the store."""
        return self._arrived + (self.sending.persisted if self.sending else 0)

    def step(self) -> bool:
        """Send at most one chunk; whether the whole case is there now. Raises StoreError."""
        if self.sending is None:
            self.sending = self._store.sending(self._item(self._left[0]))
        try:
            found = self.sending.step()
        except StoreError as error:
            self._still_whole(self.sending.item)
            if error.trouble in (Trouble.REFUSED, Trouble.EXPIRED):
                self.sending = None     # looks at the file again: it may have rotted since
            raise
        if found is None:
            return False
        item, self.sending = self.sending.item, None
        if (found.bytes, found.crc32c) != (item.bytes, item.crc32c):
            raise StoreError(Trouble.CONFLICT, f'{item.name}: the bucket has another object under '
                                               f'this name, crc32c {found.crc32c}, not '
                                               f'{item.crc32c}')
        if self._left.pop(0) != manifest.MANIFEST:
            self._arrived += item.bytes
        return not self._left

    def _still_whole(self, item: Item) -> None:
        """A file that was cut short looks like a broken link, for ever."""
        try:
            size = plain_size(item.path, item.keys)
        except OSError as error:
            raise StoreError(Trouble.DAMAGED, f'{item.path}: {error.strerror or error}') from error
        except SealError as error:
            raise StoreError(Trouble.DAMAGED, str(error)) from error
        if size != item.bytes:
            raise StoreError(Trouble.DAMAGED, f'{item.path} has {size} bytes, and had '
                                              f'{item.bytes} before')

    def _item(self, name: str) -> Item:
        """The file is read once whole before it is sent: what differs from its manifest stays."""
        path = lying(self.folder, name)
        try:
            found = manifest.describe(path, self._keys)
        except NoKeyError as error:
            raise StoreError(Trouble.SEALED, str(error)) from error
        except SealError as error:
            raise StoreError(Trouble.DAMAGED, str(error)) from error
        except OSError as error:
            raise StoreError(Trouble.DAMAGED, f'{path}: {error.strerror or error}') from error
        expected = [entry for entry in self.content['files'] if entry['path'] == name]
        if expected and found != expected[0]:
            raise StoreError(Trouble.DAMAGED, f'{path} is not what its manifest says')
        return Item(f'{self.objects}/{name}', path, found['bytes'], found['crc32c'],
                    _TYPES.get(Path(name).suffix, 'application/octet-stream'), self._keys)
