"""The config that every denoiser's experiment starts from, each key with its meaning.

The keys of `data` and `seed` mean what they do in `jaxcap/experiment/defaults.py`.
"""

from ml_collections import ConfigDict

from jaxcap.experiment import defaults


def get_config() -> ConfigDict:
    """Returns the config with every key."""
    return ConfigDict(
        {
            "seed": 0,
            "data": defaults.data(),
            "images": images(),
            "noise": noise(),
            "denoiser": denoiser(),
            "train": train(),
            "show": show(),
        },
        sort_keys=False,
    ).lock()  # a key that is not here is a typing mistake


def images() -> dict:
    """What is made of a photo before noise is put on it."""
    return {
        "size": 224,  # pixels a side; a captioner with this denoiser must have the same
        # training sees a random square of so many pixels a side of each photo, which costs less;
        # 0: the whole photo
        "crop": 0,
        "workers": 4,  # threads that decode photos
    }


def noise() -> dict:
    """What the denoiser learns to take out."""
    return {
        "gaussian": 0.1,  # standard deviation of what is added to every value; white is 1
        "salt_and_pepper": 0.05,  # share of pixels that become white or black, each as often
    }


def denoiser() -> dict:
    """The autoencoder."""
    return {
        "widths": (32, 64),  # channels after each halving of the photo's sides
    }


def train() -> dict:
    """Training; the best epoch is that of the least mean squared error in validation."""
    return {
        "batch_size": 16,  # photos over all devices
        "epochs": 10,
        "learning_rate": 1e-3,
        # step: times `decay_factor` every `decay_epochs`; cosine: down to zero; constant
        "schedule": "cosine",
        "decay_factor": 0.8,
        "decay_epochs": 4,
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "decoupled": False,  # AdamW's decoupled decay
        "clip_norm": 1.0,  # global norm of the gradient; 0: no clipping
        "ema_decay": 0.0,  # of the exponential moving average of the weights; 0: none
        "patience": 0,  # epochs without a better validation before it stops; 0: never
        "checkpoint_every": 100,  # steps between saves inside an epoch
    }


def show() -> dict:
    """What is shown while training."""
    return {
        "photos": 4,  # validation photos drawn after each epoch
        "tensorboard_every": 10,  # steps
    }
