"""A fixed vocabulary: one word a line, the line number (from 0) is the token id.

Line 0 is padding and line 1 the unknown word; both names are fixed. New words are only ever
appended, so a network keeps its ids. The same file serves training, Triton and the robot.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

PAD, UNKNOWN = 0, 1
_SPECIAL = ('<pad>', '<unknown>')
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
MAX_TEXT = 4096


class VocabularyError(ValueError):
    """The vocabulary file, or a text given to it, breaks a rule that the message names."""


@dataclass(frozen=True)
class Vocabulary:
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[:2] != _SPECIAL:
            raise VocabularyError(f'a vocabulary begins with the lines {" and ".join(_SPECIAL)}')
        seen: dict[str, int] = {}
        for number, word in enumerate(self.words):
            if number >= 2 and split(word) != [word]:
                raise VocabularyError(f'line {number}: {word!r} is not one lower-case word')
            if seen.setdefault(word, number) != number:
                raise VocabularyError(f'line {number}: {word!r} is on line {seen[word]} already')

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a vocabulary file; raises VocabularyError naming the file and the line."""
        try:
            return cls(tuple(Path(path).read_text(encoding='utf-8').splitlines()))
        except (OSError, UnicodeDecodeError, VocabularyError) as error:
            raise VocabularyError(f'vocabulary {path}: {error}') from error

    @property
    def sha256(self) -> str:
        """Digest over the words in their order, whatever the file's line ends."""
        return hashlib.sha256('\n'.join(self.words).encode()).hexdigest()

    def unknown(self, text: str) -> list[str]:
        """The words of the text that have no id of their own."""
        known = set(self.words[2:])
        return [word for word in split(text) if word not in known]

    def encode(self, text: str, length: int) -> NDArray[np.int64]:
        """Token ids (length,), padded with 0; raises VocabularyError when there are more words."""
        ids = {word: number for number, word in enumerate(self.words)}
        tokens = [ids.get(word, UNKNOWN) for word in split(text)]
        if len(tokens) > length:
            raise VocabularyError(f'the instruction has {len(tokens)} words, the model takes '
                                  f'{length}')
        return np.array(tokens + [PAD] * (length - len(tokens)), dtype=np.int64)


def split(text: str) -> Sequence[str]:
    """Lower-case words; punctuation separates. Raises VocabularyError on an endless text."""
    if len(text) > MAX_TEXT:
        raise VocabularyError(f'the instruction has {len(text)} characters, at most {MAX_TEXT} '
                              'are taken')
    return _WORD.findall(text.lower())
