"""The line under every table of scores that says what was scored, and how, so that two tables can
be compared.
"""

from collections.abc import Mapping, Sequence

import jaxcap


def signature(
    *,
    data: str,
    split: str,
    images: Mapping[str, str],
    references: Sequence[int],
    beam: str,
    length_rule: str,
    vocabulary: str,
) -> str:
    """Writes the signature line of a table of scores.

    Args:
      data: the data set's name.
      split: the split's name.
      images: digests that say which images were scored, by name: of their ids, photos and captions.
      references: how many references each image has.
      beam: how captions were searched, as "5", "greedy" or "sampled".
      length_rule: how finished captions of different length were compared.
      vocabulary: the vocabulary's size and fingerprint.

    Returns:
      One line of "key:value" joined by "|"; equal lines mean scores that can be compared.
    """
    each = (
        f"{min(references)}"
        if min(references) == max(references)
        else f"{min(references)}-{max(references)}"
    )
    fields = {
        "data": data,
        "split": split,
        "images": len(references),
        **images,
        "refs": each,
        "tok": "ptb",
        "beam": beam,
        "length": length_rule,
        "vocab": vocabulary,
        "jaxcap": jaxcap.__version__,
    }
    return "|".join(f"{key}:{str(value).replace('|', '/')}" for key, value in fields.items())
