"""Checks of the splits: no photo may decide an epoch or a score that it was trained on."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from jaxcap.checks.finding import Finding
from jaxcap.io.plain import list_some

# Of a split's photos: from here on two splits are taken for the same, below for two that overlap.
_SAME_SPLIT = 0.5


class Photos(Protocol):
    """A split, as far as it is checked here: `data.split.Split`."""

    @property
    def ids(self) -> Sequence[str]:
        """The image ids."""

    @property
    def photos(self) -> Sequence[str]:
        """The digest of each photo's bytes, where these are known."""


def check_photos(splits: Mapping[str, Photos]) -> list[Finding]:
    """Looks for photos in two of the splits train, val and test.

    A photo is the same when its id or its bytes are.

    Args:
      splits: by name.
    """
    findings = []
    shared = []
    for first, second in (("train", "val"), ("val", "test"), ("train", "test")):
        if first not in splits or second not in splits:
            continue
        common = find_shared(splits[first], splits[second])
        if not common:
            continue
        share = len(common) / len(splits[second].ids)
        if second == "val" and share >= _SAME_SPLIT:
            findings.append(_report_validation(common, share))
        elif first == "val" and findings:
            continue  # validation is training, whose photos in the test are told below
        elif first == "val" and share >= _SAME_SPLIT:
            findings.append(_report_selection(common, share))
        else:
            count = f"{len(common):,} of the {len(splits[second].ids):,} photos of {second}"
            shared.append(f"{count} are in {first} too ({list_some(common, 2)})")
    if shared:
        finding = Finding(
            "photo-in-two-splits",
            "; ".join(shared),
            "scores of them are no scores of unseen photos",
            "remove the copies from one of the two, or split by photo (data.splits=random)",
        )
        findings.append(finding)
    return findings


def find_shared(first: Photos, second: Photos) -> list[str]:
    """Returns the ids of the photos of `second` that are in `first`, under this name or another."""
    known_ids = set(first.ids)
    known_photos = set(first.photos)
    photos = second.photos or [""] * len(second.ids)
    common = []
    for image, photo in zip(second.ids, photos, strict=True):
        if image in known_ids or photo in known_photos:
            common.append(image)
    return common


def _report_validation(common: Sequence[str], share: float) -> Finding:
    return Finding(
        "validation-is-training",
        f"{share:.0%} of the validation photos are training photos ({list_some(common, 2)})",
        "the validation loss falls however badly unseen photos are captioned, so the best epoch "
        "and early stopping mean nothing",
        "validate on photos of their own (data.splits=published or random)",
    )


def _report_selection(common: Sequence[str], share: float) -> Finding:
    return Finding(
        "selection-on-test",
        f"{share:.0%} of the test photos are validation photos ({list_some(common, 2)})",
        "the test chooses the best epoch, so its scores are too good",
        "validate on photos of their own (data.splits=published or random)",
    )
