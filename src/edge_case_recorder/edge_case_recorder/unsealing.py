"""A sealed case as a plain bag, for `ros2 bag play` and every other reader.

    ros2 run edge_case_recorder cases unseal CASE --key FILE --output DIR

Works for a case that is finished, and checks each file against the manifest before it gets its
name. The copies are for their owner only (0700, 0600).
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_case_recorder import manifest
from edge_case_recorder.durable import fsync_folder
from edge_case_recorder.sealing import Key, SealError, lying, open_plain

_READ_BYTES = 1 << 20


def unseal_case(case: Path, keys: Sequence[Key], output: Path) -> Path:
    """Write `output/<case id>/` with the files of the manifest as they were; returns it.

    Raises SealError, ManifestError, FileExistsError, OSError; then nothing is left behind.
    """
    content = manifest.read(case)
    folder = output / content['case_id']
    if folder.exists():
        raise FileExistsError(f'{folder}: is there already')
    beside = output / f'.{content["case_id"]}.unsealing'
    output.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(beside, ignore_errors=True)   # of one that was killed
    beside.mkdir(mode=0o700)
    try:
        for entry in content['files']:
            _copy(lying(case, entry['path']), keys, beside / entry['path'])
            if manifest.describe(beside / entry['path']) != entry:
                raise SealError(f'{case}: {entry["path"]} is not what its manifest says')
        _copy(case / manifest.MANIFEST, (), beside / manifest.MANIFEST)
        os.rename(beside, folder)
        fsync_folder(output)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Unseal one case and print where it is; 1 and one sentence when that cannot be done."""
    parser = argparse.ArgumentParser(prog='cases unseal',
                                     description=(__doc__ or '').splitlines()[0])
    parser.add_argument('case', type=Path, metavar='CASE', help='the case\'s folder in the spool')
    parser.add_argument('--key', metavar='FILE', action='append', required=True,
                        help='the site\'s key; again for one of before')
    parser.add_argument('--output', type=Path, metavar='DIR', required=True,
                        help='where the folder of the plain bag is made')
    options = parser.parse_args(arguments)
    try:
        folder = unseal_case(options.case, [Key.read(path) for path in options.key],
                             options.output)
    except (SealError, manifest.ManifestError, OSError) as error:
        print(f'cases unseal: {error}', file=sys.stderr)
        return 1
    print(folder)
    return 0


def _copy(source: Path, keys: Sequence[Key], target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, 'wb') as copy, open_plain(source, keys) as file:
        shutil.copyfileobj(file, copy, _READ_BYTES)
        copy.flush()
        os.fsync(copy.fileno())
