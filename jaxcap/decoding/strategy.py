"""The ways of writing a caption: beam search, greedy search as its narrowest, and sampling."""

import dataclasses
from collections.abc import Mapping
from typing import Any

KINDS = ("beam", "greedy", "sample")


@dataclasses.dataclass(frozen=True)
class BeamSearch:
    """Beam search, see `decoding.beam_search`.

    Attributes:
      beam: K, hypotheses kept; 1 is greedy search.
    """

    beam: int


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Words drawn at random, see `decoding.sample`.

    Attributes:
      temperature: log-probabilities are divided by it.
      top_k: most probable words to draw among; 0 for all.
      top_p: probability of the most probable words to draw among; 1 for all.
      seed: of all draws.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def list_options(self) -> dict[str, float]:
        """Returns what tells one sampling from another, without the cuts that are off."""
        options = dataclasses.asdict(self)
        if not self.top_k:
            del options["top_k"]
        if self.top_p == 1:
            del options["top_p"]
        return options


Strategy = BeamSearch | Sampling
GREEDY = BeamSearch(1)


def make_strategy(section: Mapping[str, Any]) -> Strategy:
    """Returns the strategy that the section `search` of a config asks for.

    Args:
      section: of the config; it may also have a "seed" of the samples, 0 where it has none.
    """
    match section["kind"]:
        case "sample":
            return Sampling(
                temperature=section["temperature"],
                top_k=section["top_k"],
                top_p=section["top_p"],
                seed=section.get("seed", 0),
            )
        case "greedy":
            return GREEDY
    return BeamSearch(section["beam"])
