"""Weights from files of three kinds and from the hub: options, fingerprints, what is refused."""

import hashlib
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save

from jaxcap.io import fetch
from jaxcap.models.convolutions import fold
from jaxcap.models.resnet import ResNet
from jaxcap.pretrained import names as weight_names
from jaxcap.pretrained import resnet
from tests import torch_files
from tests.hub import serving
from tests.pretrained.weight_files import FORMS, SMALL, equal_trees, load, mistake, written


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_file_gives_the_same_folded_parameters(tmp_path, variables, arrays, form):
    loaded = load(written(tmp_path, arrays, form), layout="v1.5", **SMALL)
    assert equal_trees(loaded.params, fold(variables))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(loaded.params))
    assert loaded.fingerprint == load(written(tmp_path, arrays), layout="v1.5", **SMALL).fingerprint
    assert "\n" not in loaded.source


@pytest.mark.parametrize(
    ("layout", "pool", "expected"),
    [
        ("v1.5", "auto", "padded"),
        ("v1", "auto", "ceil"),
        ("v1", "padded", "padded"),
        ("v1.5", "ceil", "ceil"),
    ],
)
def test_the_pool_follows_the_layout_unless_it_is_set(tmp_path, arrays, layout, pool, expected):
    loaded = load(written(tmp_path, arrays), layout=layout, pool=pool, **SMALL)
    assert (loaded.pool, loaded.normalization) == (expected, "imagenet")


def test_fingerprints_tell_apart_whatever_changes_the_features(tmp_path, arrays):
    path = written(tmp_path, arrays)
    prints = {
        load(path, layout=layout, pool=pool, **SMALL).fingerprint
        for layout, pool in [("v1", "ceil"), ("v1", "padded"), ("v1.5", "ceil"), ("v1.5", "padded")]
    }
    arrays["layer2.0.bn3.bias"][5] += 1e-6
    prints.add(load(written(tmp_path, arrays), layout="v1", **SMALL).fingerprint)
    assert len(prints) == 5


@pytest.mark.parametrize(
    "changes", [{"width": 8}, {"stage_sizes": (2, 2)}, {"stage_sizes": (1, 1)}]
)
@pytest.mark.parametrize("form", FORMS)
def test_weights_of_another_network_are_refused(tmp_path, arrays, form, changes):
    assert "not the weights of a ResNet with" in mistake(written(tmp_path, arrays, form), **changes)


@pytest.mark.parametrize("form", FORMS)
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, arrays, form):
    path = Path(written(tmp_path, arrays, form))
    content = path.read_bytes()
    for end in [0, 1, 3, 4, 8, 100, *np.linspace(101, len(content) - 1, 12, dtype=int)]:
        path.write_bytes(content[:end])
        assert re.search("truncated|fetch it again|fetch the file again", mistake(path))


def test_mistaken_options_end_in_one_line(tmp_path, arrays):
    path = written(tmp_path, arrays)
    assert "encoder.layout=v2" in mistake(path, layout="v2")
    assert "encoder.pool=max" in mistake(path, pool="max")
    assert "there is no file" in mistake(tmp_path / "none.pth")
    assert "ends in .safetensors" in mistake(tmp_path / "weights.onnx")
    assert "set encoder.layout=v1.5" in mistake("hub", layout="v1")
    assert "encoder.stage_sizes=(3,4,6,3)" in mistake("hub")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serves a ResNet50 of small constants as if it were the pinned one, to a machine with empty
    caches.
    """
    model = ResNet(folded=False)
    arrays = {}
    for path, shape in weight_names._model_shapes(model).items():
        shape = tuple(shape[axis] for axis in (3, 2, 0, 1)) if len(shape) == 4 else shape
        arrays[resnet.torch_name(path)] = np.full(shape, 0.01, np.float32)
    content = save(arrays)
    monkeypatch.setattr(resnet, "HUB_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(fetch, "PAUSES", (0.0,))
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with serving(content) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server
    for path in tmp_path.rglob("*.*"):
        path.unlink()  # 94 MB each


def test_the_hubs_weights_are_downloaded_once_resumed_and_then_found(hub, tmp_path):
    hub.faults.append(("cut", 50_000_000))
    first = load("hub", layout="v1.5")
    assert hub.asked == [None, "bytes=50000000-"]
    assert (first.pool, first.normalization) == ("padded", "imagenet")
    files = list((tmp_path / "cache" / "weights").iterdir())
    assert [path.name for path in files] == ["timm--resnet50.tv_in1k-aa6c2d36.safetensors"]
    hub.faults.extend([("status", 503)] * 9)
    assert load("hub", layout="v1.5").fingerprint == first.fingerprint
    files[0].write_bytes(b"damaged")
    assert "503" in mistake("hub", stage_sizes=(3, 4, 6, 3), width=64)


def test_without_a_network_the_line_names_the_place_for_the_file(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9/")
    line = mistake("hub", stage_sizes=(3, 4, 6, 3), width=64)
    place = tmp_path / "cache" / "weights" / "timm--resnet50.tv_in1k-aa6c2d36.safetensors"
    assert line.startswith(
        "ImageNet weights of ResNet50: cannot download "
        "http://127.0.0.1:9/timm/resnet50.tv_in1k/resolve/"
    )
    assert f"put the file at {place}" in line
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(hub.content)
    assert load("hub", layout="v1.5").source.startswith(place.name)


def test_torchvisions_own_copy_is_used_if_it_is_whole(hub, tmp_path, monkeypatch, arrays):
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / resnet.TORCHVISION_COPY).write_bytes(
        torch_files.saved(arrays, "zip")
    )  # of another hash
    assert resnet._find_hub_file().parent == tmp_path / "cache" / "weights"
    (tmp_path / "cache" / "weights").rename(tmp_path / "elsewhere")
    content = torch_files.saved(arrays, "zip")
    name = f"resnet50-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(resnet, "TORCHVISION_COPY", name)
    (folder / name).write_bytes(content)
    assert resnet._find_hub_file() == folder / name


def test_the_pinned_file_is_the_one_that_the_facts_name():
    assert resnet.HUB_SHA256 == "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888"
    assert resnet.HUB_COMMIT == "aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8"
