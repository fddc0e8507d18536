"""Files on this machine: which are photos, and whether a disk has room."""

import pytest

from jaxcap.errors import UserError
from jaxcap.io import files


@pytest.mark.parametrize(
    ("name", "photo"),
    [
        ("a.jpg", True),
        ("A.JPEG", True),
        ("b.Png", True),
        ("._a.jpg", False),
        (".jpg", False),
        ("a.eps", False),
        ("a.txt", False),
        ("jpg", False),
    ],
)
def test_photos_are_told_by_their_names(name, photo):
    assert files.is_photo(name) is photo


def test_a_disk_without_room_is_named_with_what_is_needed_and_free(tmp_path, monkeypatch):
    class Disk:
        free = 2_500_000_000

    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: Disk)
    files.check_space(tmp_path, 2_500_000_000, "the photos", "go elsewhere")
    said = f"the photos need 2.60 GB in {tmp_path}, where 2.50 GB are free: .*, or go elsewhere"
    with pytest.raises(UserError, match=said):
        files.check_space(tmp_path, 2_600_000_000, "the photos", "go elsewhere")
