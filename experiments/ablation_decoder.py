"""What does each part of the decoder give? Each arm changes one part of `flickr8k.py`'s recipe.

Without the recipe's self-critical epochs, 8 epochs an arm. `one_level` reads conv5 alone, so it
computes features of its own; all other arms share theirs. It has not been run: reckoned from
`ablation_words`, the three seeds of an arm take 4 to 5 minutes together on an H100 that three other
arms share, and the features of 12,000 views 1.5 minutes (3.6 GB, kept).

Command:

  jaxcap ablate --config ablation_decoder --config.data.dir=DIR
"""

from jaxcap.ablation.grid import Ablation, Arm


def get_ablation() -> Ablation:
    """Returns the ablation."""
    arms = (
        Arm("recipe"),
        Arm("no_gate", {"decoder.context_gate": False}),
        Arm("no_doubly_stochastic", {"loss.doubly_stochastic": 0.0}),
        Arm("zero_initial_state", {"decoder.init_from_mean": False}),
        Arm("no_deep_output", {"head.deep_output": False}),
        Arm(
            "no_dropout",
            {"decoder.word_dropout": 0.0, "head.dropout": 0.0, "regions.dropout": 0.0},
        ),
        Arm("tanh", {"decoder.activation": "tanh"}),
        Arm("gru", {"decoder.cell": "gru"}),
        Arm("one_level", {"encoder.levels": 1}),
        Arm("one_feature_layer", {"regions.layers": 1}),
    )
    return Ablation(
        base="flickr8k",
        arms=arms,
        shared={"self_critical.epochs": 0, "train.epochs": 8},
    )
