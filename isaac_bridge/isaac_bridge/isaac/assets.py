"""Scenes by asset root, through a local cache that trusts a file only by its digest.

A root is a folder, `https://..`, `s3://bucket/..` or `omniverse://..` (Nucleus; inside Isaac Sim
only). What is fetched is named by a pack: a JSON file with the sha256 and the size of a scene and
of all that it refers to, under their paths below the root, so that references between them hold in
the cache too.
    python -m isaac_bridge.isaac.assets pin ROOT scene.usd > pack.json
    python -m isaac_bridge.isaac.assets fetch pack.json
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from .transfer import open_source

ROOT_VARIABLE = 'ISAACSIM_ASSET_ROOT'
ROOT_SETTING = '/persistent/isaac/asset_root/default'
ATTEMPTS = 3
_CHUNK = 1 << 20


class AssetError(RuntimeError):
    """An asset cannot be had; the message says which, from where, and why."""


@dataclasses.dataclass(frozen=True)
class Asset:
    """A file below a root. path: relative, with '/'."""

    path: str
    sha256: str
    size: int


@dataclasses.dataclass(frozen=True)
class Pack:
    """A scene with all that it refers to; the first asset is the scene itself."""

    root: str
    assets: tuple[Asset, ...]


def asset_root(setting: Callable[[str], str | None] | None = None,
               environ: Mapping[str, str] = os.environ) -> str:
    """ISAACSIM_ASSET_ROOT, then Isaac Sim's setting, as Isaac Sim itself has it.

    setting: reads a setting of a running Isaac Sim. Raises AssetError.
    """
    root = environ.get(ROOT_VARIABLE) or (setting(ROOT_SETTING) if setting is not None else None)
    if not root:
        raise AssetError(f'no asset root: set {ROOT_VARIABLE} to a folder, https://, s3:// or '
                         'omniverse://')
    return root.rstrip('/')


def read_pack(path: str | Path, root: str | None = None) -> Pack:
    """root: instead of the pack's own. Raises AssetError."""
    try:
        document = json.loads(Path(path).read_text())
        if document['schema_version'] != 1:
            raise AssetError(f'{path}: schema_version {document["schema_version"]} is not 1')
        assets = tuple(Asset(_checked(entry['path']), str(entry['sha256']), int(entry['size']))
                       for entry in document['assets'])
        pack = Pack(root or str(document['root']), assets)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise AssetError(f'{path}: is no pack of assets ({problem})') from problem
    for asset in assets:
        if len(asset.sha256) != 64 or asset.size < 0:
            raise AssetError(f'{path}: {asset.path}: its sha256 or its size is none')
    if not assets:
        raise AssetError(f'{path}: holds no asset')
    return pack


def text_of(pack: Pack) -> str:
    """The pack as its JSON file holds it."""
    return json.dumps({'schema_version': 1, 'root': pack.root,
                       'assets': [dataclasses.asdict(asset) for asset in pack.assets]}, indent=1)


class Cache:
    """Files of one folder, at most max_bytes of them; the ones used longest ago go first.

    Several processes may share it: a file appears under its name whole, or not at all.
    """

    def __init__(self, folder: str | Path, max_bytes: int = 20 << 30,
                 open_url: Callable[[str], Any] = open_source) -> None:
        """open_url: gives a readable binary stream, or raises OSError."""
        self._folder = Path(folder)
        self._max_bytes = max_bytes
        self._open = open_url

    def fetch(self, pack: Pack, progress: Callable[[Asset, bool], None] | None = None) -> Path:
        """Where the pack's scene lies, every file of it checked against its digest.

        progress: is told each asset and whether it had to be fetched. Raises AssetError.
        """
        total = sum(asset.size for asset in pack.assets)
        if total > self._max_bytes:
            raise AssetError(f'the pack holds {total} bytes, and the cache at most '
                             f'{self._max_bytes}: give it more')
        places = [self._place(pack.root, asset) for asset in pack.assets]
        for asset, place in zip(pack.assets, places, strict=True):
            fetched = not self._holds(place, asset)
            if fetched:
                self._make_room(asset.size, keep=set(places))
                self._download(pack.root, asset, place)
            if progress is not None:
                progress(asset, fetched)
        return places[0]

    def _place(self, root: str, asset: Asset) -> Path:
        return self._folder / hashlib.sha256(root.encode()).hexdigest()[:16] / _checked(asset.path)

    def _holds(self, place: Path, asset: Asset) -> bool:
        """Whether it is there unharmed. What is not is taken away."""
        try:
            if place.stat().st_size == asset.size and _digest_of(place) == asset.sha256:
                os.utime(place)
                return True
            place.unlink()
        except FileNotFoundError:
            pass
        except OSError as problem:
            raise AssetError(f'the cache cannot use {place}: {problem}') from problem
        return False

    def _make_room(self, size: int, keep: set[Path]) -> None:
        files = []
        for path in self._files():
            try:
                status = path.stat()
            except FileNotFoundError:
                continue        # another process made room
            files.append((status.st_mtime_ns, status.st_size, path))
        used = sum(entry[1] for entry in files)
        for _, freed, path in sorted(files):
            if used + size <= self._max_bytes:
                return
            if path not in keep:
                path.unlink(missing_ok=True)
                used -= freed

    def _files(self) -> Iterator[Path]:
        # What another process is still writing is no file of the cache yet.
        return (path for path in self._folder.rglob('*')
                if path.is_file() and not path.name.startswith('.part-'))

    def _download(self, root: str, asset: Asset, place: Path) -> None:
        url = f'{root}/{asset.path}'
        problem = ''
        for _ in range(ATTEMPTS):
            try:
                problem = self._try(url, asset, place)
            except OSError as error:
                problem = str(error)
            if not problem:
                return
        raise AssetError(f'{url}: {problem}')

    def _try(self, url: str, asset: Asset, place: Path) -> str:
        """What is wrong with what came, or nothing."""
        place.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix='.part-', delete=False) as part:
            try:
                with self._open(url) as source:
                    while chunk := source.read(_CHUNK):
                        size += len(chunk)
                        if size > asset.size:
                            return f'is longer than the {asset.size} bytes that the pack says'
                        digest.update(chunk)
                        part.write(chunk)
                if size < asset.size:
                    return f'ended after {size} of {asset.size} bytes'
                if digest.hexdigest() != asset.sha256:
                    return (f'has the sha256 {digest.hexdigest()}, not {asset.sha256}: it was '
                            'changed since the pack was made, or on the way')
                part.flush()
                os.fsync(part.fileno())
                os.replace(part.name, place)
                return ''
            finally:
                Path(part.name).unlink(missing_ok=True)


def pin(root: str, scene: str, open_url: Callable[[str], Any] = open_source,
        max_bytes: int = 20 << 30) -> Pack:
    """The pack of a scene and of everything below the root that it refers to, as it is now.

    Needs usd-core, to read references. Raises AssetError.
    """
    from .references import references_of
    assets: dict[str, Asset] = {}
    waiting, total = [_checked(scene)], 0
    with tempfile.TemporaryDirectory(prefix='isaac_bridge_pin_') as folder:
        while waiting:
            path = waiting.pop()
            if path in assets:
                continue
            local = Path(folder) / path
            local.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open_url(f'{root}/{path}') as source, local.open('wb') as copy:
                    while chunk := source.read(_CHUNK):
                        total += len(chunk)
                        if total > max_bytes:
                            raise AssetError(f'{root}/{scene} and what it refers to is more than '
                                             f'{max_bytes} bytes')
                        copy.write(chunk)
            except OSError as problem:
                raise AssetError(f'{root}/{path}: {problem}') from problem
            assets[path] = Asset(path, _digest_of(local), local.stat().st_size)
            for reference in references_of(local):
                target = PurePosixPath(os.path.normpath(PurePosixPath(path).parent / reference))
                waiting.append(_checked(str(target)))
    return Pack(root, tuple(assets.values()))


def _checked(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith('/') or '\\' in path or '..' in parts or '\0' in path:
        raise AssetError(f'{path!r} is no path below an asset root')
    return str(PurePosixPath(path))


def _digest_of(path: Path) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 with one sentence."""
    import argparse
    import sys
    parser = argparse.ArgumentParser(prog='isaac_bridge.isaac.assets', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    pinned = commands.add_parser('pin', help='write a pack of a scene as it is now')
    pinned.add_argument('root')
    pinned.add_argument('scene')
    fetched = commands.add_parser('fetch', help='bring a pack into the cache')
    fetched.add_argument('pack')
    fetched.add_argument('--root', help="instead of the pack's own")
    fetched.add_argument('--cache', default=str(default_cache()))
    fetched.add_argument('--cache-gb', type=float, default=20.0)
    options = parser.parse_args(arguments)
    try:
        if options.command == 'pin':
            print(text_of(pin(options.root.rstrip('/'), options.scene)))
        else:
            cache = Cache(options.cache, round(options.cache_gb * 2**30))
            print(cache.fetch(read_pack(options.pack, options.root), lambda asset, fetched: print(
                f'{"fetched" if fetched else "there"}  {asset.path}', file=sys.stderr)))
    except AssetError as problem:
        print(f'assets: {problem}', file=sys.stderr)
        return 1
    return 0


def default_cache() -> Path:
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'isaac_bridge' / 'assets'


if __name__ == '__main__':
    raise SystemExit(main())
