"""METEOR 1.5 (Denkowski and Lavie 2014, https://aclanthology.org/W14-3348) by its Java program.

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
# The program's parameters for English, as the paper names them.
_ALPHA = 0.85
_BETA = 0.2
_GAMMA = 0.6
_DELTA = 0.75
_MATCH_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
_COUNTS = 23  # numbers in an answer of the program


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
    lines = [
        _format_order(words, texts) for words, texts in zip(hypotheses, references, strict=True)
    ]
    answers = _run("".join(f"{line}\n" for line in lines))
    for answer in answers:
        if len(answer.split()) != _COUNTS:
            raise UserError(f"METEOR's Java program answered something unexpected: {answer}")
    if len(answers) != len(lines):
        raise UserError("METEOR's Java program answered something unexpected: too few lines")
    try:
        counts = np.array([answer.split() for answer in answers], np.float64)
    except ValueError as error:
        raise UserError(f"METEOR's Java program answered something unexpected: {error}") from error
    counts = counts.reshape(len(lines), _COUNTS)
    lengths = counts[:, :2]
    chunks = counts[:, 20]
    matched = counts[:, 21:]
    # A caption equal to its reference is not fragmented, though it is one chunk.
    chunks[(chunks == 1) & (matched == lengths).all(1)] = 0
    return counts


def from_statistics(total: np.ndarray) -> np.ndarray:
    """Computes METEOR from summed statistics.

    Args:
      total: sums of the rows of `statistics` over images. [..., 23]

    Returns:
      The score in 0 .. 1. [..., 1]
    """
    lengths = total[..., :2]
    function_words = total[..., 2:4]
    # [..., kind of match, content or function word, ours or theirs]
    matches = total[..., 4:20].reshape(*total.shape[:-1], 4, 2, 2)
    chunks = total[..., 20]
    matched_words = total[..., 21:]
    content = np.einsum("...ks,k->...s", matches[..., 0, :], _MATCH_WEIGHTS)  # [..., 2]
    function = np.einsum("...ks,k->...s", matches[..., 1, :], _MATCH_WEIGHTS)
    possible = _DELTA * (lengths - function_words) + (1 - _DELTA) * function_words
    ratios = _divide(_DELTA * content + (1 - _DELTA) * function, possible)
    precision = ratios[..., 0]
    recall = ratios[..., 1]
    mean = _divide(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    fragmentation = _divide(chunks, matched_words.mean(-1))
    return (mean * (1 - _GAMMA * fragmentation**_BETA))[..., None]


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Returns part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def _format_order(words: Sequence[str], references: Sequence[Sequence[str]]) -> str:
    """Returns the line that orders the program to score one caption."""
    # "|||" separates the parts and must not stand inside one.
    texts = (" ".join(text).replace("|||", "") for text in (*references, words))
    return " ||| ".join(["SCORE", *texts])


def _run(orders: str) -> list[str]:
    """Runs the program on `orders` and returns its lines; it ends when its input ends."""
    command = [_java()]
    # In a French locale Java would read and write decimal commas.
    command += ["-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8"]
    command += ["-Xmx2G", "-jar", str(_program())]
    command += ["-", "-", "-stdio", "-l", "en", "-norm"]
    try:
        result = subprocess.run(command, input=orders.encode(errors="replace"), capture_output=True)
    except OSError as error:
        raise UserError(f"METEOR's Java program could not be started ({error.strerror})") from error
    if result.returncode:
        complaints = result.stderr.decode(errors="replace").strip().splitlines()
        reason = complaints[-1] if complaints else "no reason given"
        raise UserError(f"METEOR's Java program failed with code {result.returncode}: {reason}")
    return result.stdout.decode(errors="replace").splitlines()


def _java() -> str:
    """Returns the path of Java."""
    path = shutil.which("java")
    if path is None:
        raise UserError(
            "METEOR needs Java and there is no `java` on the PATH: install a Java runtime, or go "
            "on without"
        )
    return path


def _program() -> Path:
    """Returns the program's file, which pycocoevalcap installs."""
    package = importlib.util.find_spec("pycocoevalcap")
    folders = package.submodule_search_locations if package else None
    for folder in folders or ():
        path = Path(folder) / "meteor" / "meteor-1.5.jar"
        if path.is_file():
            return path
    raise UserError(
        "METEOR needs the package pycocoevalcap: pip install 'jaxcap[java]', or go on without "
        "METEOR"
    )
