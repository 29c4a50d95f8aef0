"""What a disk has after a power cut: a model of what was synchronised, from what a process said.

Strict: of a file only the bytes that fsync was asked for, of a folder only the names that it had at
its own last fsync. Torn: the newest names, with any part of the bytes that nobody synchronised, or
zeros in their place. As on ext4, XFS and Btrfs, fsync of a file keeps its own name too;
`posix=True` leaves that out.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from kill_child import entries


class Disk:
    """One folder's. `settle` before each process, `hear` all that it says, then `cut`."""

    def __init__(self, root: Path, shadow: Path, posix: bool = False) -> None:
        self._root = root
        self._shadow = shadow
        self._posix = posix
        self._sizes: dict[int, int] = {}
        self._folders: dict[int, dict[str, tuple[int, bool]]] = {}

    def settle(self) -> None:
        """What is there now is durable."""
        shutil.rmtree(self._shadow, ignore_errors=True)
        self._shadow.mkdir(parents=True)
        self._sizes.clear()
        self._folders.clear()
        for folder in (self._root, *(each for each in self._root.rglob('*') if each.is_dir())):
            found = entries(folder, self._shadow)
            self._folders[folder.stat().st_ino] = found
            for inode, is_folder in found.values():
                if not is_folder:
                    self._sizes[inode] = (self._shadow / str(inode)).stat().st_size

    def hear(self, line: Mapping[str, Any]) -> None:
        if line['what'] == 'folder':
            self._folders[line['inode']] = {name: tuple(each)
                                            for name, each in line['entries'].items()}
        elif line['what'] == 'file':
            self._sizes[line['inode']] = line['size']
            if not self._posix:
                self._folders.setdefault(line['folder'], {})[line['name']] = line['inode'], False

    def cut(self, chance: Random, torn: bool) -> None:
        """The folder becomes what the disk would have."""
        if torn:
            for folder in (self._root, *(each for each in self._root.rglob('*') if each.is_dir())):
                self._folders[folder.stat().st_ino] = entries(folder, self._shadow)
        for inode in list(self._sizes):
            size = (self._shadow / str(inode)).stat().st_size
            assert size >= self._sizes[inode], 'a file became shorter'
        after = self._root.with_name(self._root.name + '.after')
        self._build(self._root.stat().st_ino, after, chance, torn)
        shutil.rmtree(self._root)
        after.rename(self._root)

    def _build(self, inode: int, path: Path, chance: Random, torn: bool) -> None:
        path.mkdir()
        for name, (child, is_folder) in self._folders.get(inode, {}).items():
            if is_folder:
                self._build(child, path / name, chance, torn)
                continue
            data = (self._shadow / str(child)).read_bytes()
            size = self._sizes.get(child, 0)
            rest = data[size:]
            kept = b''
            if torn and rest:
                part = rest[:chance.randrange(len(rest) + 1)]
                kept = chance.choice((part, part + bytes(len(rest) - len(part)), bytes(len(rest))))
            (path / name).write_bytes(data[:size] + kept)
