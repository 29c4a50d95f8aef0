"""Whether a case in a bucket is the case of its manifest, object by object.

    python -m edge_case_recorder.bucket gs://bucket/prefix <case folder> ..
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_case_recorder import manifest
from edge_case_recorder.store import Store, StoreError, open_store


@dataclass(frozen=True)
class ObjectCheck:
    """One object: its full URL, and what is wrong with it (empty: nothing)."""

    url: str
    problem: str = ''

    @property
    def ok(self) -> bool:
        return not self.problem


@dataclass(frozen=True)
class CaseCheck:
    """All objects of a case; the manifest, which is the commit mark, is the last."""

    objects: tuple[ObjectCheck, ...]

    @property
    def ok(self) -> bool:
        return all(each.ok for each in self.objects)

    @property
    def problem(self) -> str:
        """The first thing that is wrong, as a sentence; empty when nothing is."""
        return next((f'{each.url}: {each.problem}' for each in self.objects if not each.ok), '')


def verify(case: Mapping[str, Any], bucket: str | Store, *, download: bool = False) -> CaseCheck:
    """Compare every object of a case with its manifest.

    download: fetch each object and compute its checksum here, rather than ask the store for it.
    Raises StoreError when the store cannot be asked, ValueError for a URL that is none.
    """
    store = open_store(bucket) if isinstance(bucket, str) else bucket
    folder = manifest.object_folder(case)
    checks = [_check(store, f'{folder}/{entry["path"]}', entry['bytes'], entry['crc32c'], download)
              for entry in case['files']]
    return CaseCheck((*checks, _check_manifest(store, f'{folder}/{manifest.MANIFEST}', case)))


def _check(store: Store, name: str, size: int, crc32c: str, download: bool) -> ObjectCheck:
    url = f'{store.url}/{name}'
    found = store.stat(name)
    if found is None:
        return ObjectCheck(url, 'is not there')
    found_size, found_crc32c = found.bytes, found.crc32c
    if download:
        data = store.get(name)
        found_size, found_crc32c = len(data), manifest.crc32c_of(data)
    if found_size != size:
        return ObjectCheck(url, f'has {found_size} bytes, the manifest says {size}')
    if found_crc32c != crc32c:
        return ObjectCheck(url, f'has crc32c {found_crc32c}, the manifest says {crc32c}')
    return ObjectCheck(url)


def _check_manifest(store: Store, name: str, case: Mapping[str, Any]) -> ObjectCheck:
    url = f'{store.url}/{name}'
    if store.stat(name) is None:
        return ObjectCheck(url, 'is not there: the case is not committed')
    try:
        found = manifest.parse(store.get(name), url)
    except manifest.ManifestError as error:
        return ObjectCheck(url, str(error))
    return ObjectCheck(url, '' if found == case else 'is the manifest of something else')


def main(arguments: Sequence[str] | None = None) -> int:
    """Check cases against a bucket; 1 when anything differs."""
    parser = argparse.ArgumentParser(prog='python -m edge_case_recorder.bucket',
                                     description='Compare uploaded cases with their manifests.')
    parser.add_argument('bucket', help='gs://bucket/prefix or file:///folder')
    parser.add_argument('case', type=Path, nargs='+', help='a case\'s folder in the spool')
    parser.add_argument('--download', action='store_true', help='fetch and compute, not only ask')
    options = parser.parse_args(arguments)
    wrong = 0
    for folder in options.case:
        try:
            result = verify(manifest.read(folder), options.bucket, download=options.download)
        except (ValueError, StoreError) as error:
            print(f'{folder.name}: {error}', file=sys.stderr)
            wrong += 1
            continue
        print(f'{folder.name}: {"equal" if result.ok else result.problem}')
        wrong += not result.ok
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
