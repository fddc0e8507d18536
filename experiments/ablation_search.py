"""How should captions be searched? The arms of a seed caption with one and the same trained run.

The recipe of `flickr8k.py` without its self-critical epochs, 8 epochs a seed; the arms differ in
`search` alone, so no arm after the first trains anything. The first arm is beam search with 5 beams
and nothing else. It has not been run: reckoned from `ablation_words`, the three trainings take 4 to
5 minutes together on an H100 that others share, and each arm less than a minute a seed.

Command:

  jaxcap ablate --config ablation_search --config.data.dir=DIR
"""

from jaxcap.ablation.grid import Ablation, Arm


def get_ablation() -> Ablation:
    """Returns the ablation."""
    arms = (
        Arm("beam_5"),
        Arm("greedy", {"search.kind": "greedy"}),
        Arm("beam_3", {"search.beam": 3}),
        Arm("beam_10", {"search.beam": 10}),
        Arm("length_0_7", {"search.length_normalization": 0.7}),
        Arm("length_1", {"search.length_normalization": 1.0}),
        Arm("no_three_words_twice", {"search.no_repeat_ngram": 3}),
        Arm(
            "length_1_no_three_twice",
            {"search.length_normalization": 1.0, "search.no_repeat_ngram": 3},
        ),
    )
    return Ablation(
        base="flickr8k",
        arms=arms,
        shared={
            "self_critical.epochs": 0,
            "train.epochs": 8,
            "search.kind": "beam",
            "search.beam": 5,
            "search.length_normalization": 0.0,
            "search.no_repeat_ngram": 0,
        },
    )
