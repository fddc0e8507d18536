"""COCO's splits, of both years, with Karpathy's file and without."""

import itertools

import pytest

from tests.data.raw_files import (
    CAPTIONS,
    COCO,
    draw,
    load,
    numbers,
    write_coco,
    write_karpathy_coco,
)


def test_cocos_photos_may_all_lie_in_one_folder_beside_others(raw):
    write_coco(raw, 2017)
    (raw / "all").mkdir()
    for photo in [*raw.glob("train2017/*"), *raw.glob("val2017/*")]:
        photo.rename(raw / "all" / photo.name)
    draw(raw / "others", *(f"IMG_{number}.jpg" for number in range(30)))
    assert numbers(load("coco", dir=str(raw), year=2017))["test"] == [36, 42]


@pytest.mark.parametrize("year", [2014, 2017])
def test_coco_has_karpathys_splits_where_his_file_lies_whatever_the_year_of_the_photos(raw, year):
    write_coco(raw, year)
    write_karpathy_coco(raw)
    splits = load("coco", dir=str(raw), year=year)
    assert numbers(splits) == {"train": [9, 25, 36], "val": [30], "test": [34, 42]}
    assert splits["train"].captions[0] == CAPTIONS
    assert splits["test"].photo(1) == next(raw.glob(f"val{year}/*42.jpg")).read_bytes()


@pytest.mark.parametrize("year", [2014, 2017])
def test_cocos_own_splits_keep_its_val_for_the_test_and_cut_val_off_train(tmp_path, year):
    write_coco(tmp_path / "kaggle" / "coco" / f"coco{year}", year)
    splits = load("coco", year=year)
    found = numbers(splits)
    assert (
        found["test"] == [36, 42]
        and len(found["val"]) == 1
        and sorted(found["train"] + found["val"]) == [9, 25, 30, 34]
    )
    assert any("do not compare" in note for note in splits["val"].notes)
    assert set(splits["test"].captions) == {CAPTIONS}
    assert numbers(load("coco", year=year, seed=8)) == found


def test_coco_with_only_its_validation_files_is_a_test_split(raw):
    write_coco(raw, 2017, parts=("val",))
    assert numbers(load("coco", dir=str(raw), year=2017)) == {"test": [36, 42]}


def test_coco_splits_at_random_over_both_parts(raw):
    write_karpathy_coco(write_coco(raw, 2014))
    splits = load("coco", dir=str(raw), splits="random", seed=1)
    assert sorted(itertools.chain(*numbers(splits).values())) == sorted(COCO)
