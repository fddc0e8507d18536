"""Small data sets written to disk for the tests, and `load` with the default config section."""

import json
import zlib

from PIL import Image

from jaxcap.data import datasets
from jaxcap.experiment import defaults

CAPTIONS = ("A dog runs .", 'It says " stop " , quickly .', "Two men", "é au lait", "five")
NAMES30K = [f"{number}.jpg" for number in range(101, 107)]
NAMES8K = [f"{number}_a{number}f.jpg" for number in range(11, 17)]
COCO = {9: "train", 25: "train", 30: "train", 34: "train", 36: "val", 42: "val"}


def section(name, **options):
    """Returns the config's section `data` with some of its values."""
    unknown = options.keys() - defaults.data().keys()
    assert not unknown, unknown
    return {**defaults.data(), "name": name, **options}


def load(name, *, only=None, **options):
    return datasets.load(section(name, **options), only=only)


def draw(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shade = zlib.crc32(name.encode()) % 2**24
        Image.new("RGB", (8, 8), (shade >> 16, shade >> 8 & 255, shade & 255)).save(folder / name)


def write_flickr30k(folder, names, photos="flickr30k_images", lists=True):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        f"{name}| {number}| {caption}" for name in names for number, caption in enumerate(CAPTIONS)
    ]
    (folder / "results.csv").write_text(
        "\n".join(["image_name| comment_number| comment", *rows, ""]), "utf-8"
    )
    draw(folder / photos, *names)
    if lists:
        for split, part in zip(
            ("train", "val", "test"), (names[:-2], names[-2:-1], names[-1:]), strict=True
        ):
            (folder / f"{split}_images.txt").write_text("\n".join(part) + "\n")
    return folder


def write_flickr8k(folder, names, lists=("train", "dev", "test")):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        f"{name}#{number}\t{caption}" for name in names for number, caption in enumerate(CAPTIONS)
    ]
    (folder / "Flickr8k.token.txt").write_text("\n".join(rows) + "\n", "utf-8")
    draw(folder / "images", *names)
    parts = {"train": names[:-2], "dev": names[-2:-1], "test": names[-1:]}
    for split in lists:
        (folder / f"Flickr_8k.{split}Images.txt").write_text("\r\n".join(parts[split]))
    return folder


def write_karpathy(path, images):
    """Writes (filename, cocoid, split) as a dataset_*.json."""
    sentences = [{"raw": caption} for caption in CAPTIONS]
    images = [
        {"filename": name, "cocoid": number, "split": split, "sentences": sentences}
        for name, number, split in images
    ]
    path.write_text(json.dumps({"images": images}))


def write_coco(folder, year, parts=("train", "val")):
    for part in parts:
        names = {
            number: f"{number:012d}.jpg" if year == 2017 else f"COCO_{part}{year}_{number:012d}.jpg"
            for number, home in COCO.items()
            if home == part
        }
        draw(folder / f"{part}{year}", *names.values())
        images = [{"id": number, "file_name": name} for number, name in names.items()]
        images.append({"id": 1, "file_name": "uncaptioned.jpg"})
        annotations = [
            {"image_id": number, "caption": f"{text} "} for text in CAPTIONS for number in names
        ]
        (folder / "annotations").mkdir(parents=True, exist_ok=True)
        path = folder / "annotations" / f"captions_{part}{year}.json"
        path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


def write_karpathy_coco(folder):
    splits = dict(zip(COCO, ("train", "restval", "val", "test", "restval", "test"), strict=True))
    images = [
        (f"COCO_{COCO[number]}2014_{number:012d}.jpg", number, split)
        for number, split in splits.items()
    ]
    write_karpathy(folder / "dataset_coco.json", images)


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def ids(splits):
    return {name: list(split.ids) for name, split in splits.items()}


def numbers(splits):
    return {name: [int(number[-16:-4]) for number in split.ids] for name, split in splits.items()}
