"""Training and validation, by group of cases: near-duplicates are never on both sides."""

import hashlib
from collections.abc import Iterable

TRAIN, VALIDATION = 'train', 'validation'


def split(groups: Iterable[str], validation_share: float, seed: int = 0) -> dict[str, str]:
    """Group -> TRAIN or VALIDATION.

    A group's side hangs on its name and the seed alone, so it stays when others come. Of two and
    more groups at least one is on each side, unless the share is 0.
    """
    if not 0.0 <= validation_share <= 0.5:
        raise ValueError(f'validation_share = {validation_share:g}: must be from 0 to 0.5')
    ranks = sorted((_rank(group, seed), group) for group in set(groups))
    found = {group: VALIDATION if rank < validation_share else TRAIN for rank, group in ranks}
    if validation_share > 0.0 and len(ranks) > 1:
        found[ranks[0][1]] = VALIDATION
        found[ranks[-1][1]] = TRAIN
    return found


def _rank(group: str, seed: int) -> float:
    digest = hashlib.sha256(f'{seed}\n{group}'.encode()).digest()
    return int.from_bytes(digest[:8]) / 2.0 ** 64
