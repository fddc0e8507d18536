"""Search: from one word's logits to whole sentences, greedily, by sampling or by beam search."""

from jaxcap.decoding.beam import beam_search
from jaxcap.decoding.rules import Hypotheses, Rules, Step
from jaxcap.decoding.sampling import greedy, sample
from jaxcap.decoding.slots import map_groups

__all__ = ["Hypotheses", "Rules", "Step", "beam_search", "greedy", "map_groups", "sample"]
