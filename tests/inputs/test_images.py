import colorsys
import io
import itertools
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from jaxcap.errors import UserError
from jaxcap.inputs import images


def encoded(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """Writes a PNG by hand, for what Pillow does not write itself: 16-bit colour, and a header that
    lies.
    """

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def scenery(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth coloured picture with no symmetry, uint8 [height, width, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def coordinates(size: int) -> np.ndarray:
    """A picture whose first channel is the column and whose second is the row, uint8 [size, size,
    3].
    """
    rows, columns = np.mgrid[:size, :size]
    return np.stack([columns, rows, np.zeros_like(rows)], -1).astype(np.uint8)


# How a photo lies in the file for each orientation: EXIF says at which side of the scene row 0 and
# column 0 are.
STORED = {
    1: lambda scene: scene,
    2: lambda scene: scene[:, ::-1],  # row 0 top, column 0 right
    3: lambda scene: scene[::-1, ::-1],  # bottom, right
    4: lambda scene: scene[::-1],  # bottom, left
    5: lambda scene: scene.swapaxes(0, 1),  # left, top
    6: lambda scene: scene[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda scene: scene[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda scene: scene[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_every_exif_orientation_is_turned_upright(orientation, form):
    scene = scenery(20, 30)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](scene)))
    np.testing.assert_array_equal(images.decode(encoded(stored, form, exif=exif), "x"), scene)


def test_a_phone_photo_held_upright_comes_out_upright_and_large_enough():
    scene = scenery(3000, 2100)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](scene)))
    decoded = images.decode(encoded(stored, "JPEG", exif=exif, quality=95), "x")
    assert decoded.shape == (1500, 1050, 3)
    difference = images.test_view(decoded).astype(float) - images.test_view(scene)
    assert abs(difference).max() <= 6 and abs(difference).mean() < 1


@pytest.mark.parametrize("exif", [b"no TIFF header", b"II*\x00\xff\xff\xff\xff garbage", b"II"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own words about the damage
def test_damaged_exif_costs_no_photo(exif):
    scene = scenery(20, 30)
    data = encoded(Image.fromarray(scene), "PNG", exif=b"Exif\x00\x00" + exif)
    np.testing.assert_array_equal(images.decode(data, "x"), scene)


@pytest.mark.parametrize("size", [(2047, 2060), (500, 375)])
def test_a_jpeg_below_twice_1024_keeps_its_size(size):
    data = encoded(Image.fromarray(scenery(*size)), "JPEG")
    assert images.decode(data, "x").shape == (*size, 3)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_lossless_formats_decode_to_the_pixels_put_in(form):
    scene = scenery(13, 21)
    data = encoded(Image.fromarray(scene), form, **({"lossless": True} if form == "WEBP" else {}))
    decoded = images.decode(data, "x")
    np.testing.assert_array_equal(decoded, scene)
    assert decoded.dtype == np.uint8


def test_grey_becomes_three_equal_channels():
    grey = scenery(9, 9)[..., 0]
    for data in (encoded(Image.fromarray(grey), form) for form in ("PNG", "PPM", "BMP")):
        np.testing.assert_array_equal(images.decode(data, "x"), np.repeat(grey[..., None], 3, -1))


def test_black_and_white_becomes_0_and_255():
    bits = scenery(9, 9)[..., 0] > 128
    decoded = images.decode(encoded(Image.fromarray(bits), "PNG"), "x")
    np.testing.assert_array_equal(decoded[..., 1], bits * 255)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_whole_range(form):
    levels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    decoded = images.decode(encoded(Image.fromarray(levels), form), "x")
    np.testing.assert_array_equal(decoded[..., 2], np.rint(levels / 257))


def test_16_bit_colour_keeps_its_whole_range():
    levels = np.random.default_rng(0).integers(0, 65536, (4, 5, 3))
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in levels)
    decoded = images.decode(png(5, 4, 16, 2, rows), "x")
    assert abs(decoded - levels / 257).max() <= 1


def test_floating_point_and_32_bit_grey_are_not_clipped_to_white():
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    for levels in (
        ramp,
        1000 * ramp,
        (ramp * 65535).astype(np.int32),
        (ramp * 2**30).astype(np.int32),
    ):
        decoded = images.decode(encoded(Image.fromarray(levels), "TIFF"), "x")
        assert abs(decoded[..., 0] - ramp * 255).max() <= 0.51


def test_cmyk_comes_out_in_its_own_colours():
    for cmyk, rgb in (
        ((0, 255, 255, 0), (255, 0, 0)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 0, 0, 128), (127,) * 3),
    ):
        data = encoded(Image.new("CMYK", (32, 32), cmyk), "JPEG", quality=100)
        assert abs(images.decode(data, "x").astype(int) - rgb).max() <= 3


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_laid_on_white(form):
    scene = scenery(16, 16)
    alpha = scenery(16, 16, seed=1)[..., :1]
    rgba = Image.fromarray(np.concatenate([scene, alpha], -1))
    data = encoded(rgba, form, **({"lossless": True, "exact": True} if form == "WEBP" else {}))
    expected = scene * (alpha / 255) + 255 * (1 - alpha / 255)
    assert abs(images.decode(data, "x") - expected).max() <= 1.01


def test_grey_with_alpha_and_transparent_palettes_are_laid_on_white():
    grey = encoded(Image.new("LA", (4, 4), (0, 51)), "PNG")
    assert abs(images.decode(grey, "x").astype(int) - 204).max() <= 1
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    palette.putpixel((2, 1), 0)
    for form in ("PNG", "GIF"):
        decoded = images.decode(encoded(palette, form, transparency=1), "x")
        assert decoded[1, 2].tolist() == [10, 20, 30] and decoded[0, 0].tolist() == [255, 255, 255]


def test_a_photo_cut_anywhere_is_named_and_never_half_decoded():
    scene = Image.fromarray(scenery(64, 96))
    for data in (
        encoded(scene, "JPEG"),
        encoded(scene, "JPEG", progressive=True),
        encoded(scene, "WEBP"),
    ):
        for cut in np.linspace(0, len(data) - 3, 40).astype(int):
            with pytest.raises(UserError, match=r"photo dog\.jpg "):
                images.decode(data[:cut], "dog.jpg")
    data = encoded(scene, "PNG")
    for cut in np.linspace(0, data.index(b"IEND") - 20, 40).astype(int):
        with pytest.raises(UserError, match=r"photo dog\.png "):
            images.decode(data[:cut], "dog.png")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own words about the damage
def test_flipped_bytes_end_in_a_picture_or_a_named_error():
    rng = np.random.default_rng(0)
    for form in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        data = np.frombuffer(encoded(Image.fromarray(scenery(24, 24)), form), np.uint8)
        for _ in range(60):
            broken = data.copy()
            broken[rng.integers(0, len(data), 8)] = rng.integers(0, 256, 8)
            try:
                assert images.decode(broken.tobytes(), "dog").ndim == 3
            except UserError as mistake:
                assert "photo dog " in str(mistake) and "0x" not in str(mistake)


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", bytes(1000), b"\xff\xd8\xff"])
def test_what_is_no_picture_is_named(data):
    with pytest.raises(UserError, match="photo page.jpg is no picture in a known format"):
        images.decode(data, "page.jpg")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"


@pytest.mark.parametrize("form", ["EPS", "ICO", "TGA"])
def test_a_picture_of_another_format_is_refused_with_the_formats_whatever_its_name(form):
    data = EPS if form == "EPS" else encoded(Image.new("RGB", (8, 8)), form)
    with pytest.raises(
        UserError,
        match=r"dog.jpg is no picture in a known format \(JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM",
    ):
        images.decode(data, "dog.jpg")


def test_no_outside_program_is_run_for_a_photo(tmp_path, monkeypatch):
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # looked for again
    with pytest.raises(UserError):
        images.decode(EPS, "dog.jpg")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(OSError), Image.open(io.BytesIO(EPS)) as picture:
        picture.load()
    assert (tmp_path / "ran").exists()  # what Pillow does where it may take any format


def test_a_phones_jpeg_with_more_pictures_behind_the_first_is_a_photo():
    first = Image.fromarray(scenery(16, 24))
    second = Image.fromarray(scenery(16, 24, seed=1))
    data = encoded(first, "MPO", save_all=True, append_images=[second], quality=95)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    np.testing.assert_array_equal(
        images.decode(data, "x"), images.decode(encoded(first, "JPEG", quality=95), "x")
    )


NOISY = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from jaxcap import errors
from jaxcap.inputs import images
def main():
    files = sorted(Path(sys.argv[1]).iterdir())
    with ThreadPoolExecutor(4) as pool:
        shapes = pool.map(lambda file: images.decode(file.read_bytes(), file.name).shape, files)
    print(sorted(shapes))
errors.exit_with(main)
"""


def test_a_command_says_nothing_of_what_pillow_warns_of(tmp_path):
    scene = Image.fromarray(scenery(20, 30))
    palette = Image.new("P", (30, 20), 1)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    exif = b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage"
    for name, data in {
        "exif": encoded(scene, "JPEG", exif=exif),
        "exif.png": encoded(scene, "PNG", exif=exif),
        "palette": encoded(palette, "PNG", transparency=b"\x00\x80"),
        "large": encoded(Image.new("1", (10_000, 9_000)), "PNG"),
    }.items():
        (tmp_path / name).write_bytes(data)
    ran = subprocess.run(
        [sys.executable, "-c", NOISY, str(tmp_path)], capture_output=True, text=True
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert ran.stdout == f"{[(20, 30, 3)] * 3 + [(9000, 10000, 3)]}\n"


def test_a_decompression_bomb_is_refused():
    with pytest.raises(UserError, match="photo bomb.png has too many pixels"):
        images.decode(png(60000, 60000, 1, 0, b""), "bomb.png")


def triangle(size: int, target: int) -> np.ndarray:
    """The weights of antialiased linear resizing from its definition, float [target, size]."""
    scale = size / target
    centres = (np.arange(target)[:, None] + 0.5) * scale
    weights = np.maximum(0, 1 - abs(np.arange(size) + 0.5 - centres) / max(scale, 1))
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("shape", [(375, 500), (100, 31), (224, 224), (1, 1)])
def test_the_test_view_is_antialiased_linear_resizing_of_the_whole_photo(shape):
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    tall = np.tensordot(triangle(shape[0], 224), photo, (1, 0))  # [224, W, 3]
    expected = np.tensordot(triangle(shape[1], 224), tall, (1, 1)).swapaxes(0, 1)
    made = images.test_view(photo)
    assert made.shape == (224, 224, 3) and made.dtype == np.uint8
    assert abs(made - expected).max() <= 1.5  # two passes, each rounded


def test_the_plain_view_is_the_test_view_of_the_decoded_photo():
    for form in ("PNG", "JPEG"):
        data = encoded(Image.fromarray(scenery(60, 90)), form)
        expected = images.test_view(images.decode(data, "x"), size=40)
        np.testing.assert_array_equal(images.plain_view(data, "x", size=40), expected)


def test_the_same_seed_gives_the_same_view_and_another_seed_another():
    photo = scenery(120, 160)
    first, again, other = (
        images.train_view(photo, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == (224, 224, 3) and first.dtype == np.uint8
    assert (first != other).any()


def test_crops_reach_every_place_and_half_are_mirrored():
    """On a photo that needs no resizing, the corner pixel tells where the crop lies."""
    photo = coordinates(40)
    rng = np.random.default_rng(0)
    views = [images.train_view(photo, rng, resize=40, size=32, jitter=0) for _ in range(1500)]
    mirrored = [view[0, 0, 0] > view[0, 1, 0] for view in views]
    assert 0.45 < np.mean(mirrored) < 0.55
    places = set()
    for view, flip in zip(views, mirrored, strict=True):
        upright = view[:, ::-1] if flip else view
        left, top = upright[0, 0, :2]
        np.testing.assert_array_equal(upright, photo[top : top + 32, left : left + 32])
        places.add((int(top), int(left)))
    assert places == set(itertools.product(range(9), repeat=2))


def test_without_jitter_and_margin_a_train_view_is_the_test_view_or_its_mirror():
    photo = scenery(50, 70)
    plain = images.test_view(photo, size=64)
    seen = {
        images.train_view(photo, np.random.default_rng(k), resize=64, size=64, jitter=0).tobytes()
        for k in range(9)
    }
    assert seen == {plain.tobytes(), plain[:, ::-1].tobytes()}


def test_brightness_is_drawn_evenly_within_the_jitter():
    """On even grey, brightness is the only change that shows."""
    photo = np.full((8, 8, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    levels = [
        images.train_view(photo, rng, resize=8, size=8, jitter=0.3)[0, 0, 0] for _ in range(1000)
    ]
    assert min(levels) in (69, 70, 71) and max(levels) in (129, 130)
    assert abs(np.mean(levels) - 100) < 2 and 15 < np.std(levels) < 19  # 60 / sqrt(12) is 17.3


def test_jitter_zero_changes_no_colour_and_a_large_one_stays_in_range():
    photo = scenery(16, 16)
    bare = images.train_view(photo, np.random.default_rng(3), resize=16, size=16, jitter=0)
    assert bare.tobytes() in (photo.tobytes(), photo[:, ::-1].tobytes())
    for seed in range(20):
        images.train_view(photo, np.random.default_rng(seed), resize=16, size=16, jitter=2.0)


def blended(photo: np.ndarray, other: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(other + factor * (photo.astype(float) - other), 0, 255)


@pytest.mark.parametrize("factor", [0.0, 0.9, 1.0, 1.1, 1.7])
def test_brightness_contrast_and_saturation_blend_with_black_mean_grey_and_grey(factor):
    photo = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    image = Image.fromarray(photo)
    grey = photo @ np.array([0.299, 0.587, 0.114])  # ITU-R 601 luma
    for factors, other in (
        ((factor, 1, 1), 0.0),
        ((1, factor, 1), round(grey.mean())),
        ((1, 1, factor), np.rint(grey)[..., None]),
    ):
        changed = np.asarray(images.recolor(image, *factors, hue=0))
        assert abs(changed - blended(photo, other, factor)).max() <= 2


@pytest.mark.parametrize("turn", [-0.5, -0.1, 0.05, 0.1, 1 / 3])
def test_hue_turns_the_colour_circle_and_keeps_value_and_saturation(turn):
    colours = np.random.default_rng(0).integers(0, 256, (1000, 1, 3), np.uint8)
    colours = colours[np.ptp(colours, -1)[:, 0] > 60]  # the hue of a grey is no number
    changed = np.asarray(images.recolor(Image.fromarray(colours), 1, 1, 1, turn))
    before, after = (
        np.array([colorsys.rgb_to_hsv(*p / 255) for p in c[:, 0]]) for c in (colours, changed)
    )
    turned = (after[:, 0] - before[:, 0] - turn + 0.5) % 1 - 0.5
    assert abs(turned).max() < 0.015 and abs(turned.mean()) < 0.006  # 8-bit hue has steps of 0.004
    assert abs(after[:, 1:] - before[:, 1:]).max() < 0.03


def test_red_turned_by_a_third_is_green():
    red = Image.new("RGB", (1, 1), (255, 0, 0))
    assert images.recolor(red, 1, 1, 1, 1 / 3).getpixel((0, 0)) == (0, 255, 0)


def test_colour_changes_are_made_in_the_order_given():
    image = Image.fromarray(scenery(30, 30))
    bright_first, contrast_first = (
        images.recolor(image, 1.8, 1.6, 1, 0, order) for order in ((0, 1), (1, 0))
    )
    brighter = images.recolor(image, 1.8, 1, 1, 0)
    assert bright_first.tobytes() == images.recolor(brighter, 1, 1.6, 1, 0).tobytes()
    assert bright_first.tobytes() != contrast_first.tobytes()


def test_neutral_factors_leave_every_pixel_as_it_is():
    image = Image.fromarray(scenery(30, 30))
    assert images.recolor(image, 1, 1, 1, 0, order=(3, 2, 1, 0)).tobytes() == image.tobytes()


@pytest.mark.parametrize(
    ("name", "top", "left"),
    [
        ("centre", 16, 16),
        ("top_left", 0, 0),
        ("top_right", 0, 32),
        ("bottom_left", 32, 0),
        ("bottom_right", 32, 32),
    ],
)
def test_crops_lie_where_their_names_say(name, top, left):
    photo = coordinates(256)
    crop = images.view(photo, name)
    np.testing.assert_array_equal(crop, photo[top : top + 224, left : left + 224])
    np.testing.assert_array_equal(images.view(photo, f"{name}_mirror"), crop[:, ::-1])


def test_plain_is_the_test_view_and_mirror_its_mirror():
    photo = scenery(90, 140)
    np.testing.assert_array_equal(
        images.view(photo, "plain", size=48), images.test_view(photo, size=48)
    )
    np.testing.assert_array_equal(
        images.view(photo, "mirror", size=48), images.test_view(photo, size=48)[:, ::-1]
    )


def test_every_listed_view_can_be_made_and_all_differ():
    views = [images.view(scenery(90, 140), name, resize=32, size=28) for name in images.VIEWS]
    assert {view.shape for view in views} == {(28, 28, 3)}
    assert len({view.tobytes() for view in views}) == len(images.VIEWS) == 12


@pytest.mark.parametrize("name", ["center", "", "_mirror", "centremirror", "top", "mirror_mirror"])
def test_an_unknown_view_is_refused_with_the_list(name):
    with pytest.raises(UserError, match="top_left_mirror, top_right"):
        images.view(scenery(8, 8), name)


def test_a_crop_larger_than_the_photo_is_refused():
    with pytest.raises(UserError, match="224 pixels does not fit a photo resized to 200"):
        images.view(scenery(8, 8), "centre", resize=200)
    with pytest.raises(UserError, match="224 pixels does not fit a photo resized to 200"):
        images.train_view(scenery(8, 8), np.random.default_rng(0), resize=200)


@pytest.mark.real_data
@pytest.mark.skipif("JAXCAP_DATA" not in os.environ, reason="JAXCAP_DATA is not set")
def test_real_photos_decode_and_a_cut_one_is_named():
    folder = Path(os.environ["JAXCAP_DATA"]) / "flickr8k" / "images"
    for path in sorted(folder.iterdir())[:200]:
        data = path.read_bytes()
        decoded = images.decode(data, path.name)
        assert decoded.shape == (224, 224, 3) and decoded.std() > 5
        np.testing.assert_array_equal(images.test_view(decoded), decoded)
        with pytest.raises(UserError, match=path.name):
            images.decode(data[: len(data) * 2 // 3], path.name)
