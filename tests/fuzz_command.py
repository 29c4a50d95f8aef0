"""The command line of a fuzzer: how many inputs, from which seed, and where a bad one is kept."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def run(description: str, fuzz: Callable[[int, int, Path | None], Mapping[str, Any]], *,
        inputs: int, most_growth_mb: float) -> None:
    """Run fuzz(seed, inputs, save) and print what it counted; ends with 1 where memory grew.

    fuzz gives `rss_growth_mb` among its figures, and raises for an input that breaks a rule.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--inputs', type=int, default=inputs)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--save', type=Path, help='a folder for an input that breaks a rule')
    arguments = parser.parse_args()
    shown = fuzz(arguments.seed, arguments.inputs, arguments.save)
    for name, value in shown.items():
        print(f'{name}: {value}')
    if shown['rss_growth_mb'] > most_growth_mb:
        sys.exit('broken: the resident memory has grown')
    print('no exception, no rule broken')
