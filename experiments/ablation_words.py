"""Which word vectors? Random, imported or trained on the captions; frozen, trained, or in part.

The recipe of `flickr8k.py` without its self-critical epochs, 6 epochs an arm. `random_frozen` and
`word2vec_frozen` say what vectors are worth that never learn, `word2vec_missing` what it gives to
train those words alone that the file lacks. The table has each arm's coverage by word and by
occurrence. `glove_frozen` is left out where no file of GloVe's is given.

The three seeds of an arm took 3 to 4 minutes as one program of three replicas on an H100 that three
other arms shared, after features of 12,000 views in 1.5 minutes (3.6 GB, kept); the arms ended
within 1 CIDEr-D of one another, 48.7 to 50.1 (`experiments/README.md`).

Command, where FILE holds word2vec's vectors, and GLOVE those of GloVe; with `--together`, as on an
accelerator, the seeds of an arm train side by side:

  jaxcap ablate --config ablation_words --config.data.dir=DIR --config.embedding.path=FILE \
      --arm glove_frozen:embedding.path=GLOVE
"""

from jaxcap.ablation.grid import Ablation, Arm

FILE = ("embedding.path",)


def get_ablation() -> Ablation:
    """Returns the ablation."""
    arms = (
        Arm("random_trained", {"embedding.kind": "random", "embedding.rate": 1.0}),
        Arm("random_frozen", {"embedding.kind": "random", "embedding.rate": 0.0}),
        Arm("word2vec_frozen", {"embedding.kind": "word2vec", "embedding.rate": 0.0}, FILE),
        Arm("word2vec_trained", {"embedding.kind": "word2vec", "embedding.rate": 1.0}, FILE),
        Arm(
            "word2vec_missing",
            {
                "embedding.kind": "word2vec",
                "embedding.rate": 0.0,
                "embedding.missing_rate": 1.0,  # of the words that the file lacks
            },
            FILE,
        ),
        Arm("captions_trained", {"embedding.kind": "train", "embedding.rate": 1.0}),
        Arm(
            "glove_frozen",
            # Its own file, not that of the word2vec arms.
            {"embedding.kind": "word2vec", "embedding.path": "", "embedding.rate": 0.0},
            FILE,
        ),
    )
    return Ablation(
        base="flickr8k",
        arms=arms,
        shared={"self_critical.epochs": 0, "train.epochs": 6},
    )
