"""A set of pictures that we draw ourselves: one to three shapes a picture, five captions, the box
of every shape.

Everything runs and can be proved with it, with no download. A picture is a function of (seed,
index) alone. What is in it (the sizes, colours and shapes, wherever they stand) decides its split,
so what is shown in a test picture together never stood together in a training picture: to caption
it, a model must have learnt shapes and colours one by one.
"""

import io
import math
import random
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from jaxcap.data.scene_captions import describe
from jaxcap.data.source import Example
from jaxcap.errors import UserError
from jaxcap.scores.grounding import COLORS, SHAPES

_PAINT = dict(
    zip(
        COLORS,
        ((212, 42, 48), (248, 222, 60), (44, 152, 72), (42, 92, 212), (138, 66, 180), (34, 34, 38)),
        strict=True,
    )
)
# Of the longer side of a shape's box, in pictures.
_SPANS = {"small": (0.25, 0.27), "medium": (0.33, 0.35), "large": (0.43, 0.46)}
_SHARPNESS = 4  # shapes are drawn this many times larger and averaged down
_GAP = 0.02  # between two boxes, and to the border

Outline = list[tuple[float, float]]  # the corners (x, y) of a shape


def read(count: int, size: int, seed: int) -> tuple[dict[str, list[Example]], list[str]]:
    """Draws the set: of every ten pictures eight are for training, one for validation, one for the
    test.

    Args:
      count: pictures in all.
      size: pixels a side.
      seed: another seed draws another set.

    Returns:
      The examples of the splits "train", "val" and "test", and lines that say how they were made.

    Raises:
      UserError: `count` or `size` is too small to make anything of.
    """
    if count < 10:
        raise UserError(
            f"data.scenes is {count}: at least 10 are needed to have pictures in train, val and "
            "test"
        )
    if size < 32:
        raise UserError(f"data.scene_size is {size}: shapes cannot be told apart below 32 pixels")
    splits: dict[str, list[Example]] = {"train": [], "val": [], "test": []}
    for index in range(count):
        splits[_split(index)].append(scene(index, size, seed))
    notes = [
        f"drew {count:,} scenes of {size} x {size} pixels (seed {seed})",
        "which sizes, colours and shapes stand together decides the split: "
        "no combination in val or test was seen in training",
    ]
    return splits, notes


def scene(index: int, size: int, seed: int) -> Example:
    """Draws picture `index` of the set `seed` and writes its five captions; see `read`."""
    rng = random.Random(f"jaxcap scene {seed} {index}")
    kinds = _combination(rng, _split(index))
    outlines = _placed(rng, kinds)
    objects = tuple(
        {"shape": shape, "colour": colour, "size": extent, "box": _box(outline)}
        for (extent, colour, shape), outline in zip(kinds, outlines, strict=True)
    )
    file = io.BytesIO()
    picture = _draw(
        outlines, [colour for _, colour, _ in kinds], size, np.random.default_rng([seed, index])
    )
    picture.save(file, "JPEG", quality=95, subsampling=0)
    return Example(f"scene-{seed}-{index:06}", file.getvalue(), describe(objects, rng), objects)


def _split(number: int) -> str:
    return {8: "val", 9: "test"}.get(number % 10, "train")


def _combination(rng: random.Random, split: str) -> list[tuple[str, str, str]]:
    """Draws one to three (size, colour, shape) that differ in each of the three and belong to
    `split`.
    """
    count = rng.choices((1, 2, 3), (3, 2, 1))[
        0
    ]  # a thing on its own is what its name is learnt from
    while True:
        kinds = list(
            zip(
                *(rng.sample(names, count) for names in (tuple(_SPANS), COLORS, SHAPES)),
                strict=True,
            )
        )
        if _split(zlib.crc32(repr(sorted(kinds)).encode())) == split:
            return kinds


def _placed(rng: random.Random, kinds: Sequence[tuple[str, str, str]]) -> list[Outline]:
    """Returns an outline inside the picture for each kind, so that no two boxes touch."""
    while True:
        outlines = [_outline(rng, shape, extent) for extent, _, shape in kinds]
        boxes = [_box(outline) for outline in outlines]
        if all(_apart(a, b) for i, a in enumerate(boxes) for b in boxes[:i]):
            return outlines


def _outline(rng: random.Random, shape: str, extent: str) -> Outline:
    """Returns the corners of a shape at a place where all of it is inside the picture."""
    corners = np.array(_CORNERS[shape])
    corners = (corners - corners.min(0)) * rng.uniform(*_SPANS[extent]) / np.ptp(corners, 0).max()
    width, height = corners.max(0)
    corner = rng.uniform(_GAP, 1 - _GAP - width), rng.uniform(_GAP, 1 - _GAP - height)
    return [(float(x), float(y)) for x, y in corners + corner]


def _box(outline: Outline) -> tuple[float, float, float, float]:
    """Returns (y0, x0, y1, x1)."""
    xs, ys = zip(*outline, strict=True)
    return min(ys), min(xs), max(ys), max(xs)


def _apart(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return any(a[axis] > b[axis + 2] + _GAP or b[axis] > a[axis + 2] + _GAP for axis in (0, 1))


def _draw(
    outlines: Sequence[Outline], colours: Sequence[str], size: int, noise: np.random.Generator
) -> Image.Image:
    """Paints the shapes, each with a soft shadow, on a pale uneven ground, and adds a grain to all
    of it.
    """
    picture = _ground(size, noise)
    for outline, colour in zip(outlines, colours, strict=True):
        mask = Image.new("L", (size * _SHARPNESS, size * _SHARPNESS))
        ImageDraw.Draw(mask).polygon(
            [(x * size * _SHARPNESS, y * size * _SHARPNESS) for x, y in outline], fill=255
        )
        mask = mask.reduce(_SHARPNESS)
        shadow = mask.filter(ImageFilter.GaussianBlur(size / 70)).point(lambda value: value // 3)
        picture.paste((30, 30, 40), (size // 80, size // 55), shadow)
        paint = np.clip(np.array(_PAINT[colour]) + noise.uniform(-14, 14, 3), 0, 255)
        picture.paste(tuple(paint.astype(int).tolist()), (0, 0), mask)
    grain = noise.standard_normal((size, size, 1), np.float32) * 4
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def _ground(size: int, noise: np.random.Generator) -> Image.Image:
    """Returns a pale ground of a colour near grey, whose light and hue drift over the picture."""
    hue = noise.uniform(175, 230) + noise.uniform(-16, 16, 3)
    pale = hue + noise.normal(0, 7, (4, 4, 1)) + noise.normal(0, 3, (4, 4, 3))
    return Image.fromarray(np.clip(pale, 0, 255).astype(np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )


def _ring(radii: Sequence[float]) -> list[tuple[float, float]]:
    """Returns as many corners as radii, evenly turned from the top."""
    angles = [2 * math.pi * i / len(radii) for i in range(len(radii))]
    return [(r * math.sin(a), -r * math.cos(a)) for r, a in zip(radii, angles, strict=True)]


_CORNERS = {
    "circle": _ring([1] * 60),
    "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    "triangle": _ring([1] * 3),
    "star": _ring([1, 0.42] * 5),
}
