"""METEOR 1.5 (Denkowski and Lavie 2014, https://aclanthology.org/W14-3348), computed by its Java
program.

The extra [java] installs pycocoevalcap, which carries the program; Java itself must be on the
machine. Java only aligns the words: the score is computed here from what it counted, so that
intervals need no second run.
"""

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxcap.errors import UserError

NAMES = ("METEOR",)
# The program's parameters for English.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_MATCH_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
_COUNTS = 23


def statistics(
    hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> np.ndarray:
    """Aligns each image's caption with its best reference and counts what METEOR is made of.

    Args:
      hypotheses: the words of one caption for each of N images.
      references: the words of at least one reference for each image.

    Returns:
      Words, function words, matches by kind, chunks and matched words, as the program orders them;
      their sum over any images gives those images' score. [N, 23]

    Raises:
      UserError: Java or the extra [java] is absent, or the program fails.
    """
    lines = [_line(words, texts) for words, texts in zip(hypotheses, references, strict=True)]
    answers = _run("".join(f"{line}\n" for line in lines))
    try:
        counts = np.array([answer.split() for answer in answers], np.float64).reshape(
            len(lines), _COUNTS
        )
    except ValueError as error:
        wrong = next(
            (answer for answer in answers if len(answer.split()) != _COUNTS), "too few lines"
        )
        raise UserError(f"METEOR's Java program answered something unexpected: {wrong}") from error
    lengths, chunks, matched = counts[:, :2], counts[:, 20], counts[:, 21:]
    chunks[(chunks == 1) & (matched == lengths).all(1)] = (
        0  # a caption equal to its reference is not fragmented
    )
    return counts


def from_statistics(total: np.ndarray) -> np.ndarray:
    """Computes METEOR from summed statistics.

    Args:
      total: sums of the rows of `statistics` over images. [..., 23]

    Returns:
      The score in 0 .. 1. [..., 1]
    """
    matches = total[..., 4:20].reshape(
        *total.shape[:-1], 4, 2, 2
    )  # [..., kind, content or function, ours or theirs]
    content = np.einsum("...ks,k->...s", matches[..., 0, :], _MATCH_WEIGHTS)  # [..., 2]
    function = np.einsum("...ks,k->...s", matches[..., 1, :], _MATCH_WEIGHTS)
    lengths, function_words = total[..., :2], total[..., 2:4]
    possible = _DELTA * (lengths - function_words) + (1 - _DELTA) * function_words
    precision, recall = np.moveaxis(
        _ratio(_DELTA * content + (1 - _DELTA) * function, possible), -1, 0
    )
    mean = _ratio(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    fragments = _ratio(total[..., 20], total[..., 21:].mean(-1))
    return (mean * (1 - _GAMMA * fragments**_BETA))[..., None]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Returns part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def _line(words: Sequence[str], references: Sequence[Sequence[str]]) -> str:
    """Returns the program's order to score one caption; "|||" separates and must not stand
    inside.
    """
    texts = (" ".join(text).replace("|||", "") for text in (*references, words))
    return " ||| ".join(["SCORE", *texts])


def _run(orders: str) -> list[str]:
    """Runs the program on `orders` and returns its lines; it ends when its input ends."""
    # In a French locale Java would read and write decimal commas.
    english = ["-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8"]
    command = [
        _java(),
        *english,
        "-Xmx2G",
        "-jar",
        str(_program()),
        "-",
        "-",
        "-stdio",
        "-l",
        "en",
        "-norm",
    ]
    try:
        result = subprocess.run(command, input=orders.encode(errors="replace"), capture_output=True)
    except OSError as error:
        raise UserError(f"METEOR's Java program could not be started ({error.strerror})") from error
    if result.returncode:
        complaint = result.stderr.decode(errors="replace").strip().splitlines() or [
            "no reason given"
        ]
        raise UserError(
            f"METEOR's Java program failed with code {result.returncode}: {complaint[-1]}"
        )
    return result.stdout.decode(errors="replace").splitlines()


def _java() -> str:
    path = shutil.which("java")
    if path is None:
        raise UserError(
            "METEOR needs Java and there is no `java` on the PATH: install a Java runtime, or go "
            "on without"
        )
    return path


def _program() -> Path:
    package = importlib.util.find_spec("pycocoevalcap")
    folders = package.submodule_search_locations if package else None
    programs = [Path(folder) / "meteor" / "meteor-1.5.jar" for folder in folders or ()]
    found = next((path for path in programs if path.is_file()), None)
    if found is None:
        raise UserError(
            "METEOR needs the package pycocoevalcap: pip install 'jaxcap[java]', or go on without "
            "METEOR"
        )
    return found
