"""The line under a table of scores that says what was scored and how.

Two tables can be compared when their lines are equal, as for sacreBLEU's signatures (Post 2018,
https://aclanthology.org/W18-6319).
"""

from collections.abc import Mapping, Sequence


def write_signature(
    *,
    data: str,
    split: str,
    images: Mapping[str, str],
    references: Sequence[int],
    beam: str,
    length_rule: str,
    vocabulary: str,
    version: str,
) -> str:
    """Writes the signature line of a table of scores.

    Args:
      data: the data set's name.
      split: the split's name.
      images: digests that say which images were scored, by name: of their ids, photos and captions.
      references: how many references each image has.
      beam: how captions were written, as "5", "greedy" or "sampled,temperature1,seed0".
      length_rule: how finished captions of different length were compared.
      vocabulary: the vocabulary's size and fingerprint.
      version: of the program that scored.

    Returns:
      One line of "key:value" joined by "|"; equal lines mean scores that can be compared.
    """
    fewest = min(references)
    most = max(references)
    fields = {
        "data": data,
        "split": split,
        "images": len(references),
        **images,
        "refs": fewest if fewest == most else f"{fewest}-{most}",
        "tok": "ptb",
        "beam": beam,
        "length": length_rule,
        "vocab": vocabulary,
        "jaxcap": version,
    }
    # A "|" inside a value would split its field.
    return "|".join(f"{key}:{str(value).replace('|', '/')}" for key, value in fields.items())
