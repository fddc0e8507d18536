"""Weights from outside: files of three kinds, their names and shapes, what is refused, and where
the features land.
"""

import copyreg
import hashlib
import os
import pickle
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from PIL import Image
from safetensors.numpy import load_file, save

from jaxcap.errors import UserError
from jaxcap.io import fetch
from jaxcap.models.resnet import ResNet, fold
from jaxcap.pretrained import load as pretrained
from jaxcap.pretrained import names as weight_names
from jaxcap.pretrained.load import load_resnet
from jaxcap.pretrained.torch_file import read_torch
from tests import pickles, torch_files
from tests.encoders import images, largest_difference, randomised, torch_arrays, torch_resnet
from tests.hub import serving

SMALL = {"stage_sizes": (2, 1), "width": 4}
DATA = Path(os.environ.get("JAXCAP_DATA", "/nowhere"))
FORMS = ("safetensors", "zip", "legacy")


def torchvision_names(stage_sizes):
    """Lists a ResNet's arrays as torchvision's documentation of a state dict shows them."""
    statistics = ("weight", "bias", "running_mean", "running_var")
    names = ["conv1.weight", *(f"bn1.{leaf}" for leaf in statistics)]
    for stage, blocks in enumerate(stage_sizes, 1):
        for block in range(blocks):
            for part in (1, 2, 3):
                names.append(f"layer{stage}.{block}.conv{part}.weight")
                names.extend(f"layer{stage}.{block}.bn{part}.{leaf}" for leaf in statistics)
        names.append(f"layer{stage}.0.downsample.0.weight")
        names.extend(f"layer{stage}.0.downsample.1.{leaf}" for leaf in statistics)
    return names


@pytest.fixture(scope="module")
def variables():
    return randomised(ResNet(**SMALL, folded=False))


@pytest.fixture
def arrays(variables):
    return torch_arrays(variables)


def written(folder, arrays, form="safetensors"):
    """Writes a file of the form and returns its path as a config would hold it."""
    path = folder / ("weights.safetensors" if form == "safetensors" else f"{form}.pth")
    path.write_bytes(save(arrays) if form == "safetensors" else torch_files.saved(arrays, form))
    return str(path)


def mistake(weights, layout="v1.5", **options):
    """Returns the line in which loading ends."""
    with pytest.raises(UserError) as raised:
        load_resnet(str(weights), layout=layout, **{**SMALL, **options})
    assert "\n" not in str(raised.value)
    return str(raised.value)


def equal_trees(ours, theirs):
    ours, theirs = flatten_dict(ours), flatten_dict(theirs)
    return ours.keys() == theirs.keys() and all(
        np.array_equal(ours[path], theirs[path]) for path in ours
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_file_gives_the_same_folded_parameters(tmp_path, variables, arrays, form):
    loaded = load_resnet(written(tmp_path, arrays, form), layout="v1.5", **SMALL)
    assert equal_trees(loaded.params, fold(variables))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(loaded.params))
    assert (
        loaded.fingerprint
        == load_resnet(written(tmp_path, arrays), layout="v1.5", **SMALL).fingerprint
    )
    assert "\n" not in loaded.source


@pytest.mark.parametrize("stage_sizes", [(3, 4, 6, 3), (3, 4, 23, 3), (1, 1)])
def test_names_are_torchvisions(stage_sizes):
    model = ResNet(stage_sizes, 4, folded=False)
    names = [weight_names.torch_name(path) for path in weight_names._shapes(model)]
    assert sorted(names) == sorted(torchvision_names(stage_sizes))


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
    loaded = load_resnet(written(tmp_path, arrays), layout=layout, pool=pool, **SMALL)
    assert (loaded.pool, loaded.normalization) == (expected, "imagenet")


def test_fingerprints_tell_apart_whatever_changes_the_features(tmp_path, arrays):
    path = written(tmp_path, arrays)
    prints = {
        load_resnet(path, layout=layout, pool=pool, **SMALL).fingerprint
        for layout, pool in [("v1", "ceil"), ("v1", "padded"), ("v1.5", "ceil"), ("v1.5", "padded")]
    }
    arrays["layer2.0.bn3.bias"][5] += 1e-6
    prints.add(load_resnet(written(tmp_path, arrays), layout="v1", **SMALL).fingerprint)
    assert len(prints) == 5


@pytest.mark.parametrize("wrap", ["state_dict", "model", "module.", "state_dict of module."])
def test_checkpoints_and_data_parallel_are_unwrapped(tmp_path, arrays, wrap, variables):
    prefix = "module." if "module." in wrap else ""
    pickled = torch_files.state_dict({prefix + name: array for name, array in arrays.items()})
    if not wrap.startswith("module"):
        epoch = {"epoch": torch_files.integer(3), "arch": torch_files.text("resnet50")}
        pickled = torch_files.ordered({**epoch, wrap.split()[0]: pickled})
    path = tmp_path / "model_best.pth.tar"
    path.write_bytes(torch_files.zip_file(pickled, arrays))
    assert equal_trees(load_resnet(str(path), layout="v1.5", **SMALL).params, fold(variables))


def test_all_faults_of_a_file_are_reported_at_once(tmp_path, arrays):
    del arrays["layer1.1.conv2.weight"], arrays["bn1.running_var"]
    arrays["layer1.0.conv1.weight"] = arrays["layer1.0.conv1.weight"][:3]
    arrays["layer2.0.bn1.weight"][0] = np.nan
    arrays["layer2.0.bn2.running_var"][0] = -1
    arrays.update({f"layer3.{n}.bn1.bias": np.zeros(4, np.float32) for n in range(5)})
    line = mistake(written(tmp_path, arrays))
    assert "2 missing (layer1.1.conv2.weight, bn1.running_var)" in line
    assert (
        "5 unexpected (layer3.0.bn1.bias, layer3.1.bn1.bias, layer3.2.bn1.bias and 2 more)" in line
    )
    assert "1 of another shape (layer1.0.conv1.weight 3x4x1x1 instead of 4x4x1x1)" in line
    assert "2 with impossible values (layer2.0.bn1.weight, layer2.0.bn2.running_var)" in line
    assert "encoder.stage_sizes=(2, 1) and encoder.width=4" in line


def test_a_number_too_large_for_float32_is_an_impossible_value_and_nothing_else_is_said(
    tmp_path, arrays, recwarn
):
    arrays["conv1.weight"] = arrays["conv1.weight"].astype(np.float64) + 1e300
    assert "1 with impossible values (conv1.weight)" in mistake(written(tmp_path, arrays))
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


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


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_damaged_torch_file_never_ends_in_a_traceback(tmp_path, arrays, form):
    content = np.frombuffer(Path(written(tmp_path, arrays, form)).read_bytes(), np.uint8)
    pickled = len(torch_files.whole(torch_files.state_dict(arrays)))
    rng, path, refused = np.random.default_rng(0), tmp_path / "damaged.pth", 0
    for _ in range(200):
        damaged = content.copy()
        damaged[rng.integers(0, pickled, 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            read_torch(path)
        except UserError:
            refused += 1
    assert refused > 100


def evil_pickles(command):
    """Returns pickles that run a shell command in every way that the format knows, by way."""
    argument = torch_files.text(command)
    return {
        "REDUCE": torch_files.call(torch_files.named("posix", "system"), argument),
        "INST": b"(" + argument + b"iposix\nsystem\n",
        "OBJ": b"(" + torch_files.named("posix", "system") + argument + b"o",
        "STACK_GLOBAL": torch_files.text("posix")
        + torch_files.text("system")
        + b"\x93"
        + argument
        + b"\x85R",
        "NEWOBJ": torch_files.named("posix", "system") + argument + b"\x85\x81",
        "EXT1": b"\x82\xf0" + argument + b"\x85R",
    }


@pytest.mark.parametrize("place", ["zip", "legacy", "system", "keys", "identifier"])
@pytest.mark.parametrize("way", ["REDUCE", "INST", "OBJ", "STACK_GLOBAL", "NEWOBJ", "EXT1"])
def test_no_code_in_a_torch_file_runs(tmp_path, monkeypatch, way, place):
    """A shell command in the pickle, called in any way from anywhere in the file, is named and not
    run.
    """
    marker = tmp_path / "ran"
    evil = evil_pickles(f"touch {marker}")[way]
    monkeypatch.setitem(copyreg._inverted_registry, 0xF0, ("posix", "system"))
    arrays = {"conv1.weight": np.zeros((4, 3, 7, 7), np.float32)}
    content = {
        "zip": lambda: torch_files.zip_file(torch_files.ordered({"conv1.weight": evil}), arrays),
        "legacy": lambda: torch_files.legacy_file(
            torch_files.ordered({"conv1.weight": evil}), arrays
        ),
        "system": lambda: torch_files.legacy_file(
            torch_files.state_dict(arrays), arrays, system=evil
        ),
        "keys": lambda: torch_files.legacy_file(torch_files.state_dict(arrays), arrays, keys=evil),
        "identifier": lambda: torch_files.zip_file(torch_files.several(evil) + b"Q", arrays),
    }[place]()
    path = tmp_path / "evil.pth"
    path.write_bytes(content)
    assert re.search("asks for posix.system, .*not read", mistake(path))
    assert not marker.exists()
    if way in ("REDUCE", "STACK_GLOBAL"):  # that the pickle is evil indeed
        pickle.loads(b"\x80\x04" + evil + b".")
        assert marker.exists()


def test_no_torch_file_takes_memory_or_time_that_it_does_not_hold(tmp_path):
    pickled = {name: content[2:-1] for name, content in pickles.hostile().items()}
    pickled["a doubled tuple as an identifier"] = pickles.DOUBLED + b"Q"
    pickled["a doubled tuple in an identifier"] = (
        b"("
        + torch_files.text("storage")
        + pickles.DOUBLED * 2
        + torch_files.text("cpu")
        + b"Nt"
        + b"Q"
    )
    files = []
    for number, (name, content) in enumerate(pickled.items()):
        legacy = torch_files.legacy_file(content, {})
        for form, whole in (("zip", torch_files.zip_file(content, {})), ("legacy", legacy)):
            files.append(tmp_path / f"{number} {name} {form}.pth")
            files[-1].write_bytes(whole)
    said = pickles.said_of(
        files,
        """
        from pathlib import Path
        from jaxcap.pretrained.torch_file import read_torch
        read = lambda path: read_torch(Path(path))
        """,
    )
    assert len(said) == len(files)
    for path, line in zip(files, said, strict=True):
        assert str(path) in line and len(line) < 400 and "MemoryError" not in line


def test_tensors_that_share_a_storage_share_its_memory(tmp_path):
    array = np.zeros(30 << 18, np.float32)  # 30 MB
    shared = torch_files.tensor("0", array)
    path = tmp_path / "shared.pth"
    path.write_bytes(
        torch_files.zip_file(
            torch_files.ordered({f"{n}.weight": shared for n in range(30)}), {"0": array}
        )
    )
    read = "from pathlib import Path\nfrom jaxcap.pretrained.torch_file import read_torch\n"
    assert pickles.said_of([path], read + "read = lambda path: read_torch(Path(path))") == ["read"]


@pytest.mark.parametrize(
    "view",
    [
        {"shape": (2**63, 2)},
        {"shape": (1.0, 2)},
        {"strides": (2**70, 1)},
        {"shape": (1,) * 65 + (4, 2)},
    ],
)
def test_a_tensor_of_impossible_numbers_is_refused(tmp_path, view):
    array = np.zeros((4, 2), np.float32)
    described = torch_files.call(
        torch_files.named("torch._utils", "_rebuild_tensor_v2"),
        torch_files.storage("0", array),
        torch_files.integer(0),
        pickle.dumps(view.get("shape", (4, 2)), 2)[2:-1],
        pickle.dumps(view.get("strides", (2, 1)), 2)[2:-1],
    )
    path = tmp_path / "beyond.pth"
    path.write_bytes(
        torch_files.zip_file(torch_files.ordered({"conv1.weight": described}), {"0": array})
    )
    assert re.search("does not fit its data|truncated, damaged", mistake(path))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "exec"),
        ("torch", "load"),
        ("torch.serialization", "os.system"),
    ],
)
def test_any_name_but_a_tensors_is_refused_and_said(tmp_path, module, name):
    path = tmp_path / "evil.pth"
    path.write_bytes(torch_files.zip_file(torch_files.named(module, name), {}))
    assert f"asks for {module}.{name}, which no plain state dict does" in mistake(path)


@pytest.mark.parametrize(
    "view",
    [
        {"offset": -1},
        {"offset": 1},
        {"shape": (5, 2)},
        {"strides": (1000, 1)},
        # fmt: skip
        {"strides": (-2, 1)},
        {"shape": (2**20, 2**20), "strides": (0, 0)},
    ],
)
def test_a_tensor_beyond_its_data_is_refused(tmp_path, view):
    array = np.zeros((4, 2), np.float32)
    for form, more in ((torch_files.zip_file, []), (torch_files.legacy_file, [b"N"])):
        path = tmp_path / "beyond.pth"
        path.write_bytes(form(torch_files.ordered({"conv1.weight": torch_files.tensor("0", array, *more, **view)}),
                              {"conv1.weight": array}))  # fmt: skip
        assert "the tensor conv1.weight does not fit its data" in mistake(path)


def test_torch_files_of_other_makes_are_named(tmp_path, arrays):
    path, state = tmp_path / "weights.pth", torch_files.state_dict(arrays)
    path.write_bytes(torch_files.zip_file(state, arrays, compression=zipfile.ZIP_DEFLATED))
    assert "a zip archive that PyTorch did not write" in mistake(path)
    path.write_bytes(torch_files.zip_file(state, arrays, byteorder=b"big"))
    assert "big-endian" in mistake(path)
    path.write_bytes(
        torch_files.zip_file(torch_files.ordered({"epoch": torch_files.integer(3)}), {})
    )
    assert "holds no dictionary of tensors" in mistake(path)
    path.write_bytes(pickle.dumps({"conv1.weight": [1.0]}, 2))
    assert "not in a format that torch.save has written since 2017" in mistake(path)
    with tarfile.open(path, "w") as archive:
        archive.add(__file__)
    assert "not in a format that torch.save has written since 2017" in mistake(path)


def test_mistaken_options_end_in_one_line(tmp_path, arrays):
    path = written(tmp_path, arrays)
    assert "encoder.layout=v2" in mistake(path, layout="v2")
    assert "encoder.pool=max" in mistake(path, pool="max")
    assert "there is no file" in mistake(tmp_path / "none.pth")
    assert "ends in .safetensors" in mistake(tmp_path / "weights.onnx")
    assert "set encoder.layout=v1.5" in mistake("hub", layout="v1")
    assert "encoder.stage_sizes=(3,4,6,3)" in mistake("hub")


# Keras's files
# ------------------------------------------------------------------------------------------------------

OLD_LEAVES = {"gamma": "gamma_1", "beta": "beta_1", "moving_mean": "running_mean_1", "moving_variance": "running_std_1",
              "kernel": "W_1", "bias": "b_1"}  # fmt: skip


def old_name(layer):
    """Turns Keras's present name of a layer into that of the files of 2016."""
    if layer in ("conv1_conv", "conv1_bn", "predictions"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1", "predictions": "fc1000"}[layer]
    stage, block, part, kind = re.fullmatch(r"conv(\d)_block(\d)_(\d)_(conv|bn)", layer).groups()
    branch = "1" if part == "0" else "2" + " abc"[int(part)]
    return f"{'res' if kind == 'conv' else 'bn'}{stage}{'abcdef'[int(block) - 1]}_branch{branch}"


def write_keras(path, layers, old=False):
    """Writes {layer: {role: array}} as the published files are written, empty layers and all."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        names = ["input_1", *(old_name(layer) if old else layer for layer in layers)]
        file.attrs["layer_names"] = [name.encode() for name in names]
        file.create_group("input_1").attrs["weight_names"] = []
        for name, arrays in zip(names[1:], layers.values(), strict=True):
            leaves = [
                f"{name}_{OLD_LEAVES[role]}:0" if old else f"{name}/{role}:0" for role in arrays
            ]
            group = file.create_group(name)
            group.attrs["weight_names"] = [leaf.encode() for leaf in leaves]
            for leaf, array in zip(leaves, arrays.values(), strict=True):
                group[leaf] = array


def keras_layers(variables):
    """Writes our variables down as Keras would, layers in an order that is not the alphabet's."""
    roles, layers = (
        {"kernel": 0, "bias": 1, "gamma": 0, "beta": 1, "moving_mean": 2, "moving_variance": 3},
        {},
    )
    for path, leaf in flatten_dict(variables).items():
        layer, role = weight_names.keras_name(path).split("/")
        layers.setdefault(layer, {})[role] = leaf
    layers = {
        name: dict(sorted(layers[name].items(), key=lambda item: roles[item[0]]))
        for name in sorted(layers)[::-1]
    }
    return {
        **layers,
        "predictions": {"kernel": np.zeros((32, 10), np.float32), "bias": np.zeros(10, np.float32)},
    }


@pytest.fixture(scope="module")
def keras_variables():
    return randomised(ResNet(**SMALL, folded=False, conv_bias=True))


@pytest.mark.parametrize("old", [False, True])
def test_keras_files_are_read_under_both_generations_of_names(tmp_path, keras_variables, old):
    write_keras(tmp_path / "weights.h5", keras_layers(keras_variables), old)
    loaded = load_resnet(str(tmp_path / "weights.h5"), layout="v1", **SMALL)
    assert equal_trees(loaded.params, fold(keras_variables, 1.001e-5))
    assert (loaded.pool, loaded.normalization) == ("padded", "caffe")


def test_keras_files_that_do_not_fit_are_refused(tmp_path, keras_variables, monkeypatch):
    path, layers = tmp_path / "weights.h5", keras_layers(keras_variables)
    write_keras(path, layers)
    assert "set encoder.layout=v1" in mistake(path)
    content = path.read_bytes()
    for end in (0, 10, 5000, len(content) // 2):
        path.write_bytes(content[:end])
        assert "truncated" in mistake(path, layout="v1")
    del layers["conv2_block1_0_bn"]
    layers["conv9_block1_1_conv"] = layers["conv1_conv"]
    write_keras(path, layers)
    line = mistake(path, layout="v1")
    assert (
        "4 missing (conv2_block1_0_bn/" in line
        and "2 unexpected (conv9_block1_1_conv/kernel" in line
    )
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install 'jaxcap[keras]'" in mistake(path, layout="v1")


# The hub's copy
# -----------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serves a ResNet50 of small constants as if it were the pinned one, to a machine with empty
    caches.
    """
    model, arrays = ResNet(folded=False), {}
    for path, shape in weight_names._shapes(model).items():
        shape = tuple(shape[axis] for axis in (3, 2, 0, 1)) if len(shape) == 4 else shape
        arrays[weight_names.torch_name(path)] = np.full(shape, 0.01, np.float32)
    content = save(arrays)
    monkeypatch.setattr(pretrained, "HUB_SHA256", hashlib.sha256(content).hexdigest())
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
    first = load_resnet("hub", layout="v1.5")
    assert hub.asked == [None, "bytes=50000000-"]
    assert (first.pool, first.normalization) == ("padded", "imagenet")
    files = list((tmp_path / "cache" / "weights").iterdir())
    assert [path.name for path in files] == ["timm--resnet50.tv_in1k-aa6c2d36.safetensors"]
    hub.faults.extend([("status", 503)] * 9)
    assert load_resnet("hub", layout="v1.5").fingerprint == first.fingerprint
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
    assert load_resnet("hub", layout="v1.5").source.startswith(place.name)


def test_torchvisions_own_copy_is_used_if_it_is_whole(hub, tmp_path, monkeypatch, arrays):
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / pretrained.TORCHVISION_COPY).write_bytes(
        torch_files.saved(arrays, "zip")
    )  # of another hash
    assert pretrained._hub_file().parent == tmp_path / "cache" / "weights"
    (tmp_path / "cache" / "weights").rename(tmp_path / "elsewhere")
    content = torch_files.saved(arrays, "zip")
    name = f"resnet50-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(pretrained, "TORCHVISION_COPY", name)
    (folder / name).write_bytes(content)
    assert pretrained._hub_file() == folder / name


def test_the_pinned_file_is_the_one_that_the_facts_name():
    assert (
        pretrained.HUB_SHA256 == "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888"
    )
    assert pretrained.HUB_COMMIT == "aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8"


# Against PyTorch and Keras
# ------------------------------------------------------------------------------------------


@pytest.mark.parity
@pytest.mark.parametrize("zipped", [True, False])
def test_files_that_pytorch_writes_are_read_as_it_reads_them(tmp_path, zipped):
    """Views, strides, shared storages, parameters and number formats among them."""
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(4, 6)
    state = {
        "whole": base,
        "view": base[1:, ::2],
        "transposed": base.T,
        "scalar": torch.tensor(7),
        "half": base.half(),
        "brain": base.bfloat16(),
        "double": base.double(),
        "parameter": torch.nn.Parameter(base + 1),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "empty": torch.zeros(0, 3),
    }
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": state, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    read = read_torch(path)
    assert list(read) == list(state)
    for name, array in read.items():
        np.testing.assert_array_equal(
            array.astype(np.float64), state[name].detach().double().numpy()
        )


@pytest.mark.parity
@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_the_files_made_by_hand_are_files_to_pytorch(tmp_path, arrays, form):
    torch = pytest.importorskip("torch")
    state = torch.load(written(tmp_path, arrays, form), weights_only=True)
    assert state.keys() == arrays.keys()
    assert all(np.array_equal(state[name].numpy(), array) for name, array in arrays.items())


@pytest.mark.parity
@pytest.mark.parametrize(("layout", "pool"), [("v1.5", "padded"), ("v1", "ceil")])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_network_that_pytorch_saved_has_pytorchs_features(tmp_path, layout, pool, zipped):
    torch = pytest.importorskip("torch")
    net = torch_resnet(torch, (2, 1), 4, layout, pool)
    parallel = torch.nn.DataParallel(net)
    torch.save(parallel.state_dict(), tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    loaded = load_resnet(str(tmp_path / "net.pt"), layout=layout, **SMALL)
    assert loaded.pool == pool
    x = images()
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    ours = ResNet(**SMALL, layout=layout, pool=pool).apply({"params": loaded.params}, x)
    assert largest_difference(ours, expected) < 1e-5


@pytest.mark.parity
def test_kerass_resnet50_has_the_same_features(tmp_path, monkeypatch):
    """Random weights and statistics, written as the published files are, put features where Keras
    puts them.
    """
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("h5py")
    keras = pytest.importorskip("keras")
    net = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(224, 224, 3))
    rng, layers = np.random.default_rng(0), {}
    draw = {
        "kernel": lambda shape: rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])),
        "gamma": lambda shape: rng.uniform(0.5, 1.2, shape),
        "beta": lambda shape: rng.normal(size=shape) * 0.3,
        "bias": lambda shape: rng.normal(size=shape) * 0.3,
        "moving_mean": lambda shape: rng.normal(size=shape) * 0.3,
        "moving_variance": lambda shape: rng.uniform(1e-4, 2.0, shape),
    }
    for layer in net.layers:
        if layer.weights:
            arrays = {
                weight.name: draw[weight.name](weight.shape).astype(np.float32)
                for weight in layer.weights
            }
            layer.set_weights(list(arrays.values()))
            layers[layer.name] = arrays
    write_keras(tmp_path / "weights.h5", layers)
    loaded = load_resnet(str(tmp_path / "weights.h5"), layout="v1")
    net.save(tmp_path / "model.h5")
    assert load_resnet(str(tmp_path / "model.h5"), layout="v1").fingerprint == loaded.fingerprint
    net.save_weights(tmp_path / "new.weights.h5")
    assert "no layer_names in it" in mistake(tmp_path / "new.weights.h5", layout="v1")
    x = images(1, 224) * 60
    ours = jax.jit(ResNet(layout="v1", pool=loaded.pool).apply)({"params": loaded.params}, x)
    assert largest_difference(ours, np.asarray(net(x, training=False))) < 1e-4


# The real weights
# ---------------------------------------------------------------------------------------------------

# Photo: the features' mean, the channels that are strongest on average and how strong, and the
# class that follows, all from PyTorch in float64: a tricycle, a stage and a balloon.
GOLDEN = {
    "2090545563_a4e66ec76b.jpg": (
        0.45821,
        (1681, 27, 551, 1523),
        (4.3739, 2.9067, 2.7416, 2.6753),
        870,
    ),
    "2679565682_91ecd283ff.jpg": (
        0.48774,
        (1228, 131, 254, 1704),
        (3.1900, 2.9179, 2.7425, 2.5629),
        819,
    ),
    "522652105_a89f1cf260.jpg": (
        0.36281,
        (459, 1907, 33, 1461),
        (3.3924, 3.2588, 2.9487, 2.8665),
        417,
    ),
}


@pytest.fixture(scope="module")
def real():
    """Returns the real weights' file, three photos as the encoder wants them, and their
    features.
    """
    path = DATA / "encoder" / "resnet50_v1_imagenet.safetensors"
    if not path.exists():
        pytest.skip("set JAXCAP_DATA to the folder of real data")
    photos = np.stack(
        [np.asarray(Image.open(DATA / "flickr8k" / "images" / name)) for name in GOLDEN]
    )
    x = (photos / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    loaded = load_resnet(str(path), layout="v1")
    features = jax.jit(ResNet(layout="v1", pool=loaded.pool).apply)({"params": loaded.params}, x)
    return path, x.astype(np.float32), np.asarray(features)


@pytest.mark.real_data
def test_real_photos_have_their_known_features_and_classes(real):
    path, _, features = real
    classifier = load_file(path)
    for grid, (mean, channels, strengths, known) in zip(features, GOLDEN.values(), strict=True):
        pooled = grid.mean((0, 1))
        assert grid.mean() == pytest.approx(mean, abs=1e-5)
        assert tuple(np.argsort(-pooled)[:4]) == channels
        assert pooled[list(channels)] == pytest.approx(strengths, abs=1e-4)
        assert np.argmax(classifier["fc.weight"] @ pooled + classifier["fc.bias"]) == known


@pytest.mark.real_data
@pytest.mark.parity
def test_real_photos_have_pytorchs_features(real):
    torch = pytest.importorskip("torch")
    path, x, features = real
    net = torch_resnet(torch, (3, 4, 6, 3), 64, "v1", "ceil")
    arrays = {
        name: torch.from_numpy(array)
        for name, array in load_file(path).items()
        if not name.startswith("fc.")
    }
    net.load_state_dict(arrays)
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    assert largest_difference(features, expected) < 1e-5
