"""`python -m flywheel.cloud.digests`: writes the digest of each pinned tag beside it.

Reads image references out of three kinds of lines, and changes nothing else of a file:

    FROM nvcr.io/nvidia/tritonserver:25.10-py3 AS base        a Dockerfile
    image: docker.io/library/postgres:17.2                    compose, manifests
    - {name: triton, newName: ghcr.io/x/triton, newTag: 0.1.0}     kustomize's images

Each gets `@sha256:..` (kustomize: `digest: 'sha256:..'`). Exit status 0 when every reference has
the digest that its registry names, 1 when one could not be asked or, with --check, has none or
another.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flywheel.cloud.registry import (
    Manifest,
    Reference,
    Registry,
    RegistryError,
    docker_credentials,
)

_PLAIN = re.compile(r'^(?P<before>\s*(?:-\s+)?(?:FROM(?:\s+--platform=\S+)?\s+|image:\s*))'
                    r"(?P<image>[^\s'\"{}$#]+[:@][^\s'\"{}$#]+)(?P<after>.*)$")
_KUSTOMIZE = re.compile(r'^(?P<before>\s*-\s*\{name: [^,{}]+, newName: (?P<name>[^,{} ]+), '
                        r"newTag: '?(?P<tag>[^,{}' ]+)'?)(?:, digest: '?(?P<digest>[^,{}']*)'?)?"
                        r'(?P<after>\}.*)$')
DEFAULT_FILES = ('config/cloud/components/images/kustomization.yaml', 'docker/compose.yaml')


@dataclass(frozen=True)
class Pin:
    """One reference in a file: line counts from 0."""
    line: int
    reference: Reference
    problem: str = ''


def find(text: str) -> list[Pin]:
    """All image references of a text, in its order; one that cannot be pinned has a problem."""
    stages: set[str] = set()
    pins = []
    for number, line in enumerate(text.splitlines()):
        image = _image(line)
        if image is None:
            continue
        stage = re.search(r'\s[Aa][Ss]\s+(\S+)\s*$', line)
        if image in stages:
            continue
        if stage:
            stages.add(stage[1])
        try:
            pins.append(Pin(number, Reference.parse(image)))
        except ValueError as error:
            pins.append(Pin(number, Reference('', image, ''), str(error)))
    return pins


def _image(line: str) -> str | None:
    if line.lstrip().startswith('#'):
        return None
    kustomize = _KUSTOMIZE.match(line)
    if kustomize:
        digest = f'@{kustomize["digest"]}' if kustomize['digest'] else ''
        return f'{kustomize["name"]}:{kustomize["tag"]}{digest}'
    plain = _PLAIN.match(line)
    return plain['image'] if plain else None


def fill(text: str, digests: dict[str, str]) -> str:
    """The text with digests (by `host/path:tag`) written beside their tags; the rest untouched."""
    lines = text.splitlines(keepends=True)
    for pin in find(text):
        digest = digests.get(str(pin.reference))
        if digest is None or pin.problem:
            continue
        line = lines[pin.line]
        body, end = line.rstrip('\r\n'), line[len(line.rstrip('\r\n')):]
        kustomize, plain = _KUSTOMIZE.match(body), _PLAIN.match(body)
        if kustomize:
            lines[pin.line] = f"{kustomize['before']}, digest: '{digest}'{kustomize['after']}{end}"
        elif plain:
            image = plain['image'].partition('@')[0]
            lines[pin.line] = f'{plain["before"]}{image}@{digest}{plain["after"]}{end}'
    return ''.join(lines)


def _write(path: Path, text: str) -> None:
    """Replace a file at once, so that nobody reads half of it."""
    with tempfile.NamedTemporaryFile('w', dir=path.parent, delete=False, newline='') as file:
        file.write(text)
    os.chmod(file.name, path.stat().st_mode)
    os.replace(file.name, path)


def run(paths: Iterable[Path], ask: Callable[[Reference], Manifest], *, check: bool,
        platforms: Sequence[str] = (), say: Callable[[str], None] = print) -> int:
    """Ask once for each reference and fill it in, or with check compare only."""
    answers: dict[str, Manifest | str] = {}
    failed = 0
    for path in paths:
        text = path.read_text()
        for pin in find(text):
            key = str(pin.reference)
            if pin.problem:
                answers[key] = pin.problem
            elif key not in answers:
                try:
                    answers[key] = ask(pin.reference)
                except RegistryError as error:
                    answers[key] = str(error)
            answer = answers[key]
            where = f'{path}:{pin.line + 1}'
            if isinstance(answer, str):
                failed += 1
                say(f'{where}: {answer}')
                continue
            lacking = [p for p in platforms if answer.platforms and p not in answer.platforms]
            if lacking:
                failed += 1
                say(f'{where}: {key} is not there for {", ".join(lacking)}')
            elif check and pin.reference.digest != answer.digest:
                failed += 1
                say(f'{where}: {key} is {answer.digest}, the file says '
                    f'{pin.reference.digest or "nothing"}')
            else:
                say(f'{where}: {key}@{answer.digest} '
                    f'({", ".join(answer.platforms) or "one platform"})')
        if not check:
            digests = {key: a.digest for key, a in answers.items() if isinstance(a, Manifest)
                       and not [p for p in platforms if a.platforms and p not in a.platforms]}
            filled = fill(text, digests)
            if filled != text:
                _write(path, filled)
    return 1 if failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m flywheel.cloud.digests',
                                     description='Write the digest of each pinned tag beside it.')
    parser.add_argument('file', nargs='*', type=Path,
                        help='default: the cluster\'s images, docker/*.Dockerfile and compose.yaml')
    parser.add_argument('--check', action='store_true', help='compare, change nothing')
    parser.add_argument('--platform', action='append', default=[],
                        help='refuse what is not there for it, e.g. linux/arm64; may be repeated')
    parser.add_argument('--timeout', type=float, default=10.0, metavar='S')
    options = parser.parse_args(argv)
    files = options.file or [*map(Path, DEFAULT_FILES),
                             *sorted(Path('docker').glob('*.Dockerfile'))]
    missing = [path for path in files if not path.is_file()]
    if missing:
        print(f'{missing[0]}: no such file', file=sys.stderr)
        return 2
    registry = Registry(docker_credentials(), options.timeout)
    return run(files, registry.manifest, check=options.check, platforms=options.platform)


if __name__ == '__main__':
    sys.exit(main())
