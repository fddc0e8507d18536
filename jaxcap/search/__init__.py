"""Search: from a decoder that gives one word's logits to whole sentences, greedily, by sampling or by beam search."""

from jaxcap.search.beam import beam_search
from jaxcap.search.lanes import map_groups
from jaxcap.search.rules import Hypotheses, Rules, Step
from jaxcap.search.walk import greedy, sample

__all__ = ["Hypotheses", "Rules", "Step", "beam_search", "greedy", "map_groups", "sample"]
