"""The MRI modalities of BraTS. One list for data on disk, phantoms and cases, which must not import each other."""

import itertools
from collections.abc import Iterable

from medsam_core.errors import OptionError

MODALITIES = ("t1ce", "t1", "t2", "flair")
"""T1 with contrast agent, T1, T2 and FLAIR, in the order of display and of cases."""
COLOURED = tuple("+".join(three) for three in itertools.permutations(MODALITIES, 3))
"""Three modalities as the red, green and blue channels of one image, such as t1ce+t2+flair."""
IMAGES = (*MODALITIES, *COLOURED)
"""What a model may see."""


def sequences_of(image: str) -> tuple[str, ...]:
    """The modalities of an image, one or three, in the order of the channels.

    image: as in IMAGES. A single unknown word is left to others, which know other names for the modalities.
    Raises OptionError for three words with an unknown or repeated one, and for another number of words.
    """
    words = tuple(image.split("+"))
    if len(words) == 1:
        return words
    wrong = f"modality {image!r}: got"
    fix = "name three different ones, such as t1ce+t2+flair, or a single one"
    if len(words) != 3:
        raise OptionError(f"{wrong} {len(words)} sequences, expected 1, or 3 as red, green and blue; {fix}.")
    for word in words:
        if word not in MODALITIES:
            known = ", ".join(MODALITIES)
            raise OptionError(f"{wrong} the unknown sequence {word!r}, expected each of {known}; {fix}.")
        if words.count(word) > 1:
            raise OptionError(f"{wrong} {word} {words.count(word)} times, expected each sequence once; {fix}.")
    return words


def listed(words: Iterable[str]) -> str:
    """The words of a choice for a sentence: `t1ce, t1, t2, flair or three of them joined by +`; others are joined."""
    words = list(words)
    plain = ", ".join(word for word in words if word not in COLOURED)
    return f"{plain} or three of them joined by +" if any(word in COLOURED for word in words) else plain
