"""What each key of a denoiser's config may be; shared keys are as in a captioner's."""

from jaxcap.experiment import ranges
from jaxcap.experiment.ranges import Range, Real, Several, Whole

_SHARED = (
    "seed",
    "data.name",
    "data.dir",
    "data.captions",
    "data.download",
    "data.prepared_dir",
    "data.splits",
    "data.photos",
    "data.allow_missing",
    "data.year",
    "data.scenes",
    "data.scene_size",
    "data.seed",
    "images.size",
    "images.workers",
    "train.batch_size",
    "train.epochs",
    "train.learning_rate",
    "train.schedule",
    "train.decay_factor",
    "train.decay_epochs",
    "train.warmup_steps",
    "train.weight_decay",
    "train.decoupled",
    "train.clip_norm",
    "train.ema_decay",
    "train.patience",
    "train.checkpoint_every",
    "show.tensorboard_every",
)

KEYS: dict[str, Range] = {
    **{key: ranges.KEYS[key] for key in _SHARED},
    "images.crop": Whole(at_least=0, at_most=ranges.SIDE.at_most, note="0: the whole photo"),
    "noise.gaussian": Real(at_least=0, at_most=1, note="0: none"),
    "noise.salt_and_pepper": Real(at_least=0, at_most=1, note="0: none"),
    "denoiser.widths": Several(Whole(at_least=1, at_most=1024)),
    "show.photos": Whole(at_least=0, at_most=100, note="0: none"),
}
