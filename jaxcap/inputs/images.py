"""A photo from its encoded bytes to what an encoder sees: decoded, resized, cropped, normalised."""

import io
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageEnhance, UnidentifiedImageError

from jaxcap.errors import UserError

# What Pillow may take a photo for, whatever its name says. Among its other formats are some that it
# hands to outside programs (EPS to Ghostscript) and many that no camera writes; JPEG stands for a
# phone's MPO as well.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

_MIN_SIDE = 1024  # pixels on the shorter side that every view and figure can do with
_ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Where the crop's corner (y, x) is, from the top left (0, 0) to the furthest it can go (1, 1).
_CROPS = {
    "centre": (0.5, 0.5),
    "top_left": (0.0, 0.0),
    "top_right": (0.0, 1.0),
    "bottom_left": (1.0, 0.0),
    "bottom_right": (1.0, 1.0),
}
VIEWS = ("plain", "mirror", *(crop + mirrored for crop in _CROPS for mirrored in ("", "_mirror")))


def decode(data: bytes, name: str) -> np.ndarray:
    """Decodes a photo of one of the `FORMATS` into upright RGB.

    Grey, CMYK, palette and 16-bit pictures become RGB of 8 bits, transparent ones are laid on
    white, and EXIF's rotation is applied. A JPEG of 2,048 pixels a side or more is decoded at a
    half, a quarter or an eighth of its size, which no view can tell and which is several times as
    fast. Up to 178,956,970 pixels are decoded, where Pillow refuses (it warns from half of that on,
    which the commands do not repeat).

    Args:
      data: the photo's encoded bytes.
      name: what to call the photo in an error.

    Returns:
      uint8 [H, W, 3], read-only.

    Raises:
      UserError: the photo is damaged, cut short, of another format, or too large to open safely.
    """
    return np.asarray(open_upright(data, name))


def open_upright(data: bytes, name: str) -> Image.Image:
    """Does what `decode` does, without the copy as an array, which takes as much memory again."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.draft(None, (_MIN_SIDE, _MIN_SIDE))
            image.load()
            turn = _TURNS.get(_read_orientation(image))
            image = _convert_to_rgb(image)
    except UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise UserError(
            f"photo {name} is no picture in a known format ({known}), or damaged: replace or "
            "remove it"
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(
            f"photo {name} has too many pixels to open safely: scale it down"
        ) from error
    except Exception as error:  # Pillow's decoders meet damage with some ten kinds of exception
        raise UserError(
            f"photo {name} is damaged or cut short ({error}): replace or remove it"
        ) from error
    return image if turn is None else image.transpose(turn)


def count_decoded_pixels(file: BinaryIO) -> int:
    """Reads from a photo's head how many pixels `decode` makes of it; 0 where that will fail."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            image.draft(None, (_MIN_SIDE, _MIN_SIDE))
            return image.width * image.height
    except Exception:  # as in decode, which says what it is
        return 0


def _read_orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode[0] in "IF":
        # 16-bit, 32-bit and floating-point grey, which convert() would clip at 255.
        levels = np.nan_to_num(np.asarray(image, np.float32))
        white = max(levels.max(), 65535.0 if image.mode[0] == "I" else 1.0)
        return Image.fromarray(np.uint8(np.clip(levels / white, 0, 1) * 255 + 0.5)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    # convert() would copy even what is RGB already, which for a camera's photo is 100 MB.
    return image if image.mode == "RGB" else image.convert("RGB")


def train_view(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    resize: int = 256,
    size: int = 224,
    jitter: float = 0.1,
    hue: float = 0.0,
) -> np.ndarray:
    """Makes a random view for training: squashed, cropped, mirrored by chance, colours jittered.

    The same `rng` state gives the same view.

    Args:
      image: uint8 [H, W, 3].
      rng: where the crop, the mirroring and the colours are drawn from.
      resize: pixels a side of the square that the photo is squashed to.
      size: pixels a side of the crop.
      jitter: brightness, contrast and saturation change by factors in [1 - jitter, 1 + jitter].
      hue: the hue turns by a part of the colour circle in [-hue, hue].

    Returns:
      uint8 [size, size, 3].

    Raises:
      UserError: `size` is larger than `resize`.
    """
    top, left = rng.integers(_crop_range(resize, size) + 1, size=2)
    square = _squash(Image.fromarray(image), resize)
    square = square.crop((left, top, left + size, top + size))
    if rng.random() < 0.5:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if jitter or hue:
        brightness, contrast, saturation = rng.uniform(max(0.0, 1 - jitter), 1 + jitter, size=3)
        turn = rng.uniform(-hue, hue)
        order = rng.permutation(4)
        square = recolor(square, brightness, contrast, saturation, turn, order=order)
    return np.asarray(square)


def recolor(
    image: Image.Image,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    order: Iterable[int] = (0, 1, 2, 3),
) -> Image.Image:
    """Changes a photo's colours as torchvision's ColorJitter does once its factors are drawn.

    Args:
      image: an RGB photo.
      brightness: 0 is black, 1 leaves it as it is.
      contrast: 0 is the photo's mean grey, 1 leaves it as it is.
      saturation: 0 is the photo in grey, 1 leaves it as it is.
      hue: the turn of the colour circle, -0.5 to 0.5; 0 leaves it as it is.
      order: in which the four changes, numbered as above from 0, are made; each rounds to whole
        levels.

    Returns:
      The RGB photo in its new colours.
    """
    for change in order:
        match int(change):
            case 0:
                image = ImageEnhance.Brightness(image).enhance(brightness)
            case 1:
                image = ImageEnhance.Contrast(image).enhance(contrast)
            case 2:
                image = ImageEnhance.Color(image).enhance(saturation)
            case 3:
                image = _turn_hue(image, hue)
    return image


def _turn_hue(image: Image.Image, turn: float) -> Image.Image:
    shift = int(turn * 255)  # as torchvision rounds it
    if shift == 0:
        return image  # whole-numbered HSV and back would lose a level or two for nothing
    hue, saturation, value = image.convert("HSV").split()
    hue = hue.point([(level + shift) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def test_view(image: np.ndarray | Image.Image, *, size: int = 224) -> np.ndarray:
    """Squashes a photo to a square, antialiased, and does nothing else to it.

    Args:
      image: uint8 [H, W, 3], or of Pillow in RGB.
      size: pixels a side.

    Returns:
      uint8 [size, size, 3].
    """
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    return np.asarray(_squash(picture, size))


def plain_view(data: bytes, name: str, *, size: int = 224) -> np.ndarray:
    """Decodes a photo and makes its test view, as `decode` and `test_view` do.

    Args:
      data: the photo's encoded bytes.
      name: what to call the photo in an error.
      size: pixels a side.

    Returns:
      uint8 [size, size, 3].

    Raises:
      UserError: the photo cannot be decoded.
    """
    return test_view(open_upright(data, name), size=size)


def view(image: np.ndarray, name: str, *, resize: int = 256, size: int = 224) -> np.ndarray:
    """Makes one of the fixed views, whose features can be computed once and kept.

    Args:
      image: uint8 [H, W, 3].
      name: "plain" (the test view), "mirror" (the same mirrored), or "centre", "top_left",
        "top_right", "bottom_left", "bottom_right": crops of the photo squashed to `resize`, each
        also mirrored as NAME_mirror.
      resize: pixels a side of the square that crops are taken from.
      size: pixels a side of the view.

    Returns:
      uint8 [size, size, 3].

    Raises:
      UserError: there is no view of this name, or `size` is larger than `resize`.
    """
    if name not in VIEWS:
        raise UserError(f"there is no view {name!r} of a photo: choose among {', '.join(VIEWS)}")
    crop = name.removesuffix("mirror").removesuffix("_")
    if crop in _CROPS:
        top, left = (round(part * _crop_range(resize, size)) for part in _CROPS[crop])
        pixels = test_view(image, size=resize)[top : top + size, left : left + size]
    else:
        pixels = test_view(image, size=size)
    return pixels[:, ::-1] if name.endswith("mirror") else pixels


def _crop_range(resize: int, size: int) -> int:
    """Returns how many pixels a crop can move along each side."""
    if size > resize:
        raise UserError(
            f"a crop of {size} pixels does not fit a photo resized to {resize}: set images.resize "
            "higher"
        )
    return resize - size


def _squash(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.BILINEAR)
