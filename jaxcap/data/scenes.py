"""Rendered scenes: one to three shapes a picture, five captions, and the box of every shape.

Everything runs and can be checked with it, with no download. A picture is a function of (seed,
index) alone. What is in it (the sizes, colours and shapes, wherever they stand) decides its split,
so what is shown in a test picture together never stood together in a training picture: to caption
it, a model must have learnt shapes and colours one by one.
"""

import io
import math
import random
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from jaxcap.data import scene_captions
from jaxcap.data.source import Example, Reading, Section, Source
from jaxcap.errors import UserError
from jaxcap.io.digests import digest_bytes
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
_OVERSAMPLING = 4  # shapes are drawn this many times larger and averaged down
_GAP = 0.02  # between two boxes, and to the border

Outline = list[tuple[float, float]]  # the corners (x, y) of a shape
Box = tuple[float, float, float, float]  # y0, x0, y1, x1, each in 0..1
Kind = tuple[str, str, str]  # size, colour, shape


def locate(section: Section) -> Source:
    """Returns the set of scenes that a config's section `data` describes; nothing is drawn yet.

    Args:
      section: scenes is how many pictures, scene_size the pixels a side, seed draws another set.
    """
    count = section["scenes"]
    size = section["scene_size"]
    seed = section["seed"]
    # What draws and describes the pictures decides their content, so the code is part of the key.
    code = []
    for path in (__file__, scene_captions.__file__):
        code.append(digest_bytes(Path(path).read_bytes()))
    key = f"{count} scenes of {size} pixels, seed {seed}, drawn by {' and '.join(code)}"
    return Source("scenes", partial(read, count, size, seed), key)


def read(count: int, size: int, seed: int) -> Reading:
    """Draws the set: of every ten pictures eight are for training, one for val, one for test.

    Args:
      count: pictures in all.
      size: pixels a side.
      seed: another seed draws another set.

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
        splits[_split_of(index)].append(draw_scene(index, size, seed))
    rule = (
        "which sizes, colours and shapes stand together decides the split: "
        "no combination in val or test was seen in training"
    )
    drawn = f"drew {count:,} scenes of {size} x {size} pixels (seed {seed})"
    return Reading(splits, [drawn, rule])


def draw_scene(index: int, size: int, seed: int) -> Example:
    """Draws picture `index` of the set `seed` and writes its five captions; see `read`."""
    rng = random.Random(f"jaxcap scene {seed} {index}")
    kinds = _draw_kinds(rng, _split_of(index))
    outlines = _place(rng, kinds)
    objects = []
    for (extent, colour, shape), outline in zip(kinds, outlines, strict=True):
        objects.append({"shape": shape, "colour": colour, "size": extent, "box": _box_of(outline)})
    captions = scene_captions.describe(objects, rng)
    colours = [colour for _, colour, _ in kinds]
    picture = _paint(outlines, colours, size, np.random.default_rng([seed, index]))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95, subsampling=0)
    return Example(f"scene-{seed}-{index:06}", file.getvalue(), captions, tuple(objects))


def _split_of(number: int) -> str:
    return {8: "val", 9: "test"}.get(number % 10, "train")


def _draw_kinds(rng: random.Random, split: str) -> list[Kind]:
    """Draws one to three kinds that differ in size, colour and shape and belong to `split`."""
    # Most often one: the name of a thing is learnt where it is alone.
    (count,) = rng.choices((1, 2, 3), (3, 2, 1))
    while True:
        sizes = rng.sample(tuple(_SPANS), count)
        colours = rng.sample(COLORS, count)
        shapes = rng.sample(SHAPES, count)
        kinds = list(zip(sizes, colours, shapes, strict=True))
        if _split_of(zlib.crc32(repr(sorted(kinds)).encode())) == split:
            return kinds


def _place(rng: random.Random, kinds: Sequence[Kind]) -> list[Outline]:
    """Returns an outline inside the picture for each kind, so that no two boxes touch."""
    while True:
        outlines = [_draw_outline(rng, shape, extent) for extent, _, shape in kinds]
        boxes = [_box_of(outline) for outline in outlines]
        if all(_are_apart(a, b) for i, a in enumerate(boxes) for b in boxes[:i]):
            return outlines


def _draw_outline(rng: random.Random, shape: str, extent: str) -> Outline:
    """Returns the corners of a shape at a place where all of it is inside the picture."""
    corners = np.array(_CORNERS[shape])
    corners = (corners - corners.min(0)) * rng.uniform(*_SPANS[extent]) / np.ptp(corners, 0).max()
    width, height = corners.max(0)
    left = rng.uniform(_GAP, 1 - _GAP - width)
    top = rng.uniform(_GAP, 1 - _GAP - height)
    return [(float(x), float(y)) for x, y in corners + np.array([left, top])]


def _box_of(outline: Outline) -> Box:
    xs, ys = zip(*outline, strict=True)
    return min(ys), min(xs), max(ys), max(xs)


def _are_apart(a: Box, b: Box) -> bool:
    return any(a[axis] > b[axis + 2] + _GAP or b[axis] > a[axis + 2] + _GAP for axis in (0, 1))


def _paint(
    outlines: Sequence[Outline], colours: Sequence[str], size: int, noise: np.random.Generator
) -> Image.Image:
    """Paints the shapes with soft shadows on a pale uneven ground, and grain over all of it."""
    picture = _paint_ground(size, noise)
    scale = size * _OVERSAMPLING
    for outline, colour in zip(outlines, colours, strict=True):
        mask = Image.new("L", (scale, scale))
        # Multiplied in this order, which decides the last bit of a corner and so its pixel.
        corners = [(x * size * _OVERSAMPLING, y * size * _OVERSAMPLING) for x, y in outline]
        ImageDraw.Draw(mask).polygon(corners, fill=255)
        mask = mask.reduce(_OVERSAMPLING)
        blurred = mask.filter(ImageFilter.GaussianBlur(size / 70))
        shadow = blurred.point([value // 3 for value in range(256)])
        picture.paste((30, 30, 40), (size // 80, size // 55), shadow)
        paint = np.clip(np.array(_PAINT[colour]) + noise.uniform(-14, 14, 3), 0, 255)
        picture.paste(tuple(paint.astype(int).tolist()), (0, 0), mask)
    grain = noise.standard_normal((size, size, 1), np.float32) * 4
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def _paint_ground(size: int, noise: np.random.Generator) -> Image.Image:
    """Returns a pale ground of a colour near grey, whose light and hue drift over the picture."""
    colour = noise.uniform(175, 230) + noise.uniform(-16, 16, 3)
    coarse = colour + noise.normal(0, 7, (4, 4, 1)) + noise.normal(0, 3, (4, 4, 3))
    ground = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8))
    return ground.resize((size, size), Image.Resampling.BICUBIC)


def _ring(radii: Sequence[float]) -> list[tuple[float, float]]:
    """Returns as many corners as radii, evenly turned from the top."""
    corners = []
    for i, radius in enumerate(radii):
        angle = 2 * math.pi * i / len(radii)
        corners.append((radius * math.sin(angle), -radius * math.cos(angle)))
    return corners


_CORNERS = {
    "circle": _ring([1] * 60),
    "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    "triangle": _ring([1] * 3),
    "star": _ring([1, 0.42] * 5),
}
