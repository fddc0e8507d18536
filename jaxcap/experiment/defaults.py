"""The config that every experiment starts from, each key with its meaning.

An experiment overrides a few of these values, and a command line any of them, as in
`python -m jaxcap.train --config experiments/flickr8k.py --config.train.epochs=3`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the config with every key, at the values of the faithful experiments."""
    return ConfigDict(
        {
            "seed": 0,
            # sound, or reported: as the published system handled data and loss, faults included.
            # An experiment file says what that means for it, in the keys below.
            "protocol": "sound",
            # What becomes of faults that `jaxcap doctor` would find in the set-up, the arithmetic
            # or the result: warn: a line each; error: no training, or exit code 2 after it; off.
            "doctor": "warn",
            "data": data(),
            "text": text(),
            "images": images(),
            "encoder": encoder(),
            "embedding": embedding(),
            "regions": regions(),
            "decoder": decoder(),
            "head": head(),
            "loss": loss(),
            "train": train(),
            "self_critical": self_critical(),
            "search": search(),
            "show": show(),
        },
        sort_keys=False,
    ).lock()  # a key that is not here is a typing mistake


def data() -> dict:
    """Photos with their captions, and how they are split."""
    return {
        "name": "flickr30k",  # flickr30k, flickr8k, coco, folder or scenes
        # where the raw files lie; empty: looked for in the usual places (Kaggle's mounts,
        # ~/data/NAME)
        "dir": "",
        # folder: the csv, tsv or jsonl file of captions, when its name is not captions.*
        "captions": "",
        "download": False,  # fetch what can be had without an account
        "prepared_dir": "",  # where the prepared records go; empty: the cache folder
        # published lists; random: seeded 80/20 by image, validation cut from the 80; and two faults
        # of published systems: random_test: 80/20 by image, the test part chooses the best epoch;
        # pairs: 80/20 by (photo, caption) pair, validation on the training part
        "splits": "published",
        "photos": 0,  # use the first so many alone, in the file's order; 0: all
        "allow_missing": False,  # go on without the photos that are not there
        "year": 2014,  # coco: whose files, 2014 or 2017
        "scenes": 2400,  # scenes: how many pictures to render, split 80/10/10
        "scene_size": 112,  # scenes: pixels a side
        # of random splits and of rendered scenes, apart from `seed`, so that runs of other seeds
        # see the same splits
        "seed": 0,
    }


def text() -> dict:
    """Captions as words."""
    return {
        "max_length": 20,  # positions of a caption, <start> and <end> among them
        # words: lower case, split at spaces, marks stripped; keras: as the Tokenizer of Keras with
        # all marks but < and > as spaces
        "tokenizer": "words",
        "min_count": 1,  # words seen less often in the counted captions become <unk>
        # most words of the vocabulary, the four specials among them: the most frequent stay; 0: all
        "max_words": 0,
        # count the captions of the training split, or of all splits as the originals did
        "vocabulary": "train",
        "keep_punctuation": False,  # punctuation marks as words of their own
        # False, a fault of a published system: <pad> begins captions and nothing ends them, so
        # that captions run on to `max_length`
        "end_mark": True,
    }


def images() -> dict:
    """What is made of a photo before the encoder sees it."""
    return {
        "size": 224,  # pixels a side that the encoder sees
        "resize": 256,  # augment=free and cropped views: resize to this before cropping `size`
        # none, free (a new random view each time), views (the fixed ones below, cached)
        "augment": "free",
        # augment=free: strength of the jitter of brightness, contrast and saturation
        "jitter": 0.1,
        "hue": 0.0,  # augment=free: the same of the hue
        "views": (
            "plain",
            "mirror",
        ),  # augment=views: plain, mirror, crops (centre, top_left, ..., centre_mirror, ...)
        "cache_dir": "",  # where cached features go; empty: the cache folder
        "workers": 4,  # threads that decode photos
    }


def encoder() -> dict:
    """The network that turns a photo into regions."""
    return {
        "backbone": "resnet",  # or inception: InceptionV3, made for images.size=299
        # hub (pinned weights: torchvision's ResNet50, Keras's InceptionV3), a .safetensors, .pth or
        # .h5 file, or random
        "weights": "hub",
        # resnet: where stride 2 stands: v1.5 in the 3x3 convolution (torchvision), v1 in the first
        # 1x1
        "layout": "v1.5",
        # how pools treat the border; auto: by layout and file. resnet, max-pool: padded
        # (torchvision, Keras) or ceil (the original v1 weights). inception, average pools:
        # uncounted (Keras: zeros around the grid are no cells) or counted (torchvision)
        "pool": "auto",
        "stage_sizes": (3, 4, 6, 3),  # resnet: blocks a stage; this is ResNet50
        "width": 64,  # channels of the stem; all others are in proportion
        # the workdir of `jaxcap denoise` whose denoiser comes before the backbone, frozen; empty:
        # none
        "denoiser": "",
        # resnet: stages, from the last one, whose channels make up a region; 2: 1,024 of conv4 and
        # 2,048 of conv5. inception: 1
        "levels": 1,
        # Rules GLOB:RATE over the backbone's parameters; the first that fits decides. RATE
        # multiplies the learning rate and 0 freezes: ("layer4_*:0.1", "*:0") fine-tunes the last
        # stage. GLOB:RATE@EPOCH is frozen before this epoch of the run, from 1. BatchNorms are
        # folded into the kernels, so that no statistics can move. resnet: what is below the first
        # stage that ever learns is computed once a view and cached, but for augment=free
        "rates": ("*:0",),
        "batch_size": 32,  # images a call when features are computed for the cache
        # Of the factors of convolutions, which are summed in float32: float32, bfloat16, or auto,
        # as of decoder.dtype. Features of another dtype are others, in a cache of their own.
        "dtype": "float32",
    }


def embedding() -> dict:
    """The word vectors."""
    return {
        # random, word2vec (vectors from `path`), or train (gensim, on the training captions)
        "kind": "random",
        "path": "",  # .bin, .bin.gz, .txt, .txt.gz, GloVe text, or a file saved by gensim
        "dim": 300,  # must equal the file's when there is one
        "rate": 1.0,  # multiplies the learning rate; 0 freezes
        # kind=word2vec: the same of the words without an imported vector, the specials among them:
        # rate=0 and missing_rate=1 train these alone; below 0: as `rate`
        "missing_rate": -1.0,
    }


def regions() -> dict:
    """What is made of the encoder's regions before attention reads them."""
    return {
        "norm": False,  # LayerNorm of every region, before all else
        "embedding": 0,  # width of a layer that embeds the regions; 0: none
        "layers": 1,  # of that width; each after the first adds to its input
        "dropout": 0.0,  # of the channels, each in all regions at once
    }


def decoder() -> dict:
    """The recurrence with attention."""
    return {
        "cell": "lstm",  # lstm or gru
        "hidden": 512,
        "attention": 512,
        "activation": "relu",  # of the additive attention: relu or tanh
        # gru: the reset gate scales the recurrent product (PyTorch, Keras's default); False: the
        # state before the product (Cho et al. 2014)
        "reset_after": True,
        # the cell starts every word from zeros and its state is read by the attention alone: a
        # fault of published code, to repeat its results
        "stateless": False,
        "init_from_mean": False,  # the first state from the mean region instead of zeros
        "context_gate": False,  # a sigmoid gate of the hidden state on the context vector
        "word_dropout": 0.0,  # of the embedded words
        # Of the factors of matrix products, which are summed in float32: float32, bfloat16, or
        # auto: bfloat16 where the device has units for it (AMX, NVIDIA from 8.0 on, TPU). What was
        # taken stays with the run.
        "dtype": "float32",
    }


def head() -> dict:
    """The output head, from the hidden state to the vocabulary."""
    return {
        "hidden": 0,  # width of a linear layer before the vocabulary; 0: none
        "deep_output": False,  # the word and the context join the hidden state
        "tie_weights": False,  # the output layer shares the word embedding
        "dropout": 0.0,  # of the vector that predicts the word
    }


def loss() -> dict:
    """How the cross-entropy is averaged, and what is added to it."""
    return {
        # words: over the words and <end>; positions, a fault of a published system: over all
        # positions of the padded captions, which add nothing but their number
        "average": "words",
        "label_smoothing": 0.0,
        # weight of the term that asks every region for attention 1 over the sentence
        "doubly_stochastic": 0.0,
    }


def train() -> dict:
    """Training on the captions that people wrote."""
    return {
        "batch_size": 64,  # images over all devices
        # random: one of an image's captions each epoch; all: every one of them beside its photo;
        # pairs: every one of them once an epoch, and a batch is of captions instead of photos
        "captions": "random",
        # all, or random: one of each photo's, another after each epoch
        "val_captions": "all",
        "epochs": 20,
        "learning_rate": 4e-4,
        # step: times `decay_factor` every `decay_epochs`; cosine: down to zero; constant
        "schedule": "step",
        "decay_factor": 0.8,
        "decay_epochs": 4,
        "warmup_steps": 0,
        "weight_decay": 0.0,
        # AdamW's decoupled decay; False: coupled, as PyTorch's Adam(weight_decay)
        "decoupled": False,
        "clip_norm": 5.0,  # global norm of the gradient; 0: no clipping
        "ema_decay": 0.0,  # of the exponential moving average of the weights; 0: none
        # the best epoch is that of the best validation loss, or CIDEr-D of greedy captions
        "select": "loss",
        "patience": 5,  # epochs without a better validation, by `select`, before it stops; 0: never
        "checkpoint_every": 500,  # steps between saves inside an epoch
        # the most steps that one program makes, on features and captions that lie on the devices;
        # 0: one, of a batch that the host reads; -1: 50 on GPUs and TPUs whose memory holds the
        # cached features twice, else 0
        "span": -1,
        # of the order of photos, captions and views; -1: as `seed`
        "order_seed": -1,
        # models of the seeds `seed`, `seed` + 1, ... that train side by side as one program, each
        # with a workdir of its own, seed_K in the run's
        "replicas": 1,
        # replicas read the same batches, those of the first one's seed; False: each its own
        "shared_order": True,
    }


def self_critical() -> dict:
    """Epochs after those of `train`, from its best on, that raise the CIDEr-D of samples."""
    return {
        "epochs": 0,
        "learning_rate": 2e-5,  # constant
        "captions": 5,  # drawn of a photo in each step
    }


def search() -> dict:
    """How evaluate and caption write captions, where their flags say nothing else."""
    return {
        # beam, greedy or sample: the most probable word, or one at random, at every step. While
        # training, validation and sample captions are greedy.
        "kind": "beam",
        "beam": 5,  # kind=beam: hypotheses kept; 1 is greedy search
        # kind=sample: log-probabilities are divided by it; below 1, more probable words more often
        "temperature": 1.0,
        "top_k": 0,  # kind=sample: draw among so many most probable words; 0: all
        # kind=sample: draw among the fewest words that together have this probability; 1: all
        "top_p": 1.0,
        "min_length": 0,  # fewest words
        # alpha: log-probabilities are compared over ((5 + length) / 6) ** alpha
        "length_normalization": 0.0,
        "no_repeat_ngram": 0,  # no so many words twice in a caption; 0: off
    }


def show() -> dict:
    """What is shown while training."""
    return {
        "captions": 4,  # validation photos captioned after each epoch
        "tensorboard_every": 10,  # steps
    }
