"""`flywheel capacity`: what a fleet asks of the cloud, with every assumption shown.

    python -m flywheel.capacity --robots 2000 --inference-rate-hz 5 [--json]
    python -m flywheel.capacity --embodiment config/embodiments/so100.yaml --image 256x256
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console

from flywheel.capacity import embodiments, table
from flywheel.capacity.model import ASSUMPTION_NOTES, Assumptions, needs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One option for each assumption, and how to print."""
    for field in fields(Assumptions):
        kind = int if isinstance(field.default, int) else float
        note = ASSUMPTION_NOTES[field.name].replace('%', '%%')
        parser.add_argument('--' + field.name.replace('_', '-'), type=kind, default=None,
                            metavar='N', help=f'{note} (default {field.default:,})')
    parser.add_argument('--embodiment', type=Path,
                        help='takes request_bytes from this description instead')
    parser.add_argument('--image', default='256x256', metavar='HxW',
                        help='size of a camera frame on the wire, with --embodiment (%(default)s)')
    parser.add_argument('--raw', action='store_true', help='frames raw instead of JPEG')
    parser.add_argument('--json', action='store_true')


def run(options: argparse.Namespace) -> int:
    """Print the table or the JSON; 2 when a parameter cannot be."""
    try:
        assumptions = _assumptions(options)
    except (ValueError, OSError) as error:
        print(f'flywheel capacity: {error}', file=sys.stderr)
        return 2
    found = needs(assumptions)
    if options.json:
        print(json.dumps(table.as_json(assumptions, found), indent=2))
    else:
        table.show(assumptions, found, Console(width=None if sys.stdout.isatty() else 140))
    return 0


def _assumptions(options: argparse.Namespace) -> Assumptions:
    given: dict[str, Any] = {field.name: getattr(options, field.name)
                             for field in fields(Assumptions)
                             if getattr(options, field.name) is not None}
    if options.embodiment is not None:
        if 'request_bytes' in given:
            raise ValueError('--embodiment and --request-bytes exclude each other')
        height, _, width = options.image.partition('x')
        if not (height.isdigit() and width.isdigit()):
            raise ValueError(f'--image is {options.image!r}: it must be HEIGHTxWIDTH')
        given['request_bytes'] = embodiments.request_bytes(
            embodiments.load(options.embodiment), int(height), int(width), not options.raw)
    return Assumptions(**given)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='flywheel capacity', description=(
        'Requests, GPUs, bytes, storage and dollars of a fleet, and what that assumes.'))
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
