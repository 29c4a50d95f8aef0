"""Instructions as bags of tokens, and the cruise speed an instruction asks for.

A word's id is its line number in config/embodiments/vocabulary.txt, which whoever tokenises
reads. Ids are for ever: the file may be shorter than the list the network was trained with, but
it must be the beginning of it, and words are only ever appended (`check_vocabulary`).
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flywheel.amr_policy.wire import TOKENS

PAD, UNKNOWN = 0, 1
INSTRUCTIONS = {'drive to the goal': 0.8, 'drive slowly to the goal': 0.4, 'wait here': 0.0}

GO = ('go', 'move', 'travel', 'head', 'proceed', 'continue', 'navigate')
SLOW = ('slow', 'carefully', 'careful', 'gently', 'cautiously', 'caution', 'reduced')
STOP = ('stop', 'halt', 'stay', 'hold', 'pause', 'stand', 'remain', 'still', 'freeze', 'not',
        "don't", 'never')
PLAIN = ('towards', 'toward', 'for', 'until', 'target', 'destination', 'station', 'end', 'a',
         'your', 'at', 'in', 'on', 'with', 'and', 'please', 'now', 'straight', 'ahead', 'forward',
         'along', 'down', 'aisle', 'lane', 'line', 'speed')
VOCABULARY = ('<pad>', '<unknown>', 'drive', 'to', 'the', 'goal', 'slowly', 'wait', 'here',
              *GO, *SLOW, *STOP, *PLAIN)

_GO, _SLOW, _STOP = {'drive', *GO}, {'slowly', *SLOW}, {'wait', *STOP}
_FULL_MPS, _SLOW_MPS = 0.8, 0.4
_IDS = {word: index for index, word in enumerate(VOCABULARY)}


def check_vocabulary(path: Path) -> None:
    """ValueError if the file's ids do not mean what the network was trained with."""
    words = path.read_text(encoding='utf-8').splitlines()
    for line, (found, trained) in enumerate(zip(words, VOCABULARY, strict=False)):
        if line != UNKNOWN and found != trained:
            raise ValueError(f'{path}, line {line + 1}: {found!r} where the network learned '
                             f'{trained!r}; only append words, or train again')
    if len(words) > len(VOCABULARY):
        raise ValueError(f'{path}: {len(words)} words, but the network learned '
                         f'{len(VOCABULARY)}; train again')


def words_of(text: str) -> list[str]:
    """Lower-case words of letters, digits and apostrophes."""
    return re.findall(r"[a-z0-9']+", text.lower())


def tokenise(text: str) -> NDArray[np.int64]:
    """Token ids (TOKENS,), padded with 0; words beyond the last place are dropped."""
    tokens = np.full(TOKENS, PAD, np.int64)
    for place, word in enumerate(words_of(text)[:TOKENS]):
        tokens[place] = _IDS.get(word, UNKNOWN)
    return tokens


def cruise_mps(words: list[str]) -> float:
    """The speed an instruction asks for.

    It fails closed: a word that asks to stay, no word that asks to go, or a word that is not in
    the vocabulary, and the robot stands.
    """
    bag = set(words)
    if bag & _STOP or not bag & _GO or not bag <= set(VOCABULARY[UNKNOWN + 1:]):
        return 0.0
    return _SLOW_MPS if bag & _SLOW else _FULL_MPS


def sample_instructions(count: int, rng: np.random.Generator
                        ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Tokens (count, TOKENS) and cruise speeds (count,).

    Two thirds are the three known instructions; the rest are random bags of words, so that a
    variant keeps its meaning and nonsense does not move.
    """
    tokens = np.zeros((count, TOKENS), np.int64)
    cruise = np.zeros(count, np.float32)
    known = [(tokenise(text), speed) for text, speed in INSTRUCTIONS.items()]
    groups = [sorted(_IDS[word] for word in group) for group in (_GO, _SLOW, _STOP)]
    plain = sorted(set(range(UNKNOWN + 1, len(VOCABULARY))) - {i for g in groups for i in g})
    which = rng.choice(len(known), count, p=(0.45, 0.35, 0.2))
    tokens[:] = np.array([ids for ids, _ in known])[which]
    cruise[:] = np.array([speed for _, speed in known])[which]
    for row in np.flatnonzero(rng.random(count) > 0.67):
        ids = [plain[i] for i in rng.integers(0, len(plain), rng.integers(0, 7))]
        for group, share in zip((*groups, [UNKNOWN]), (0.9, 0.4, 0.2, 0.15), strict=True):
            if rng.random() < share:
                ids += [group[i] for i in rng.integers(0, len(group), rng.integers(1, 3))]
        rng.shuffle(ids)
        tokens[row] = ids + [PAD] * (TOKENS - len(ids))
        cruise[row] = cruise_mps([VOCABULARY[i] for i in ids])
    return tokens, cruise
