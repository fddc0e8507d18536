"""PyTorch's files: read without running them, refused where damaged or hostile."""

import copyreg
import pickle
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxcap.errors import UserError
from jaxcap.models.convolutions import fold
from jaxcap.models.resnet import ResNet
from jaxcap.pretrained.torch_file import read_torch
from tests import pickles, torch_files
from tests.encoders import images, largest_difference, torch_resnet
from tests.pretrained.weight_files import SMALL, equal_trees, load, mistake, written


@pytest.mark.parametrize("wrap", ["state_dict", "model", "module.", "state_dict of module."])
def test_checkpoints_and_data_parallel_are_unwrapped(tmp_path, arrays, wrap, variables):
    prefix = "module." if "module." in wrap else ""
    pickled = torch_files.state_dict({prefix + name: array for name, array in arrays.items()})
    if not wrap.startswith("module"):
        epoch = {"epoch": torch_files.integer(3), "arch": torch_files.text("resnet50")}
        pickled = torch_files.ordered({**epoch, wrap.split()[0]: pickled})
    path = tmp_path / "model_best.pth.tar"
    path.write_bytes(torch_files.zip_file(pickled, arrays))
    assert equal_trees(load(path, layout="v1.5", **SMALL).params, fold(variables))


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_damaged_torch_file_never_ends_in_a_traceback(tmp_path, arrays, form):
    content = np.frombuffer(Path(written(tmp_path, arrays, form)).read_bytes(), np.uint8)
    pickled = len(torch_files.whole(torch_files.state_dict(arrays)))
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.pth"
    refused = 0
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
        {"strides": (-2, 1)},
        {"shape": (2**20, 2**20), "strides": (0, 0)},
    ],
)
def test_a_tensor_beyond_its_data_is_refused(tmp_path, view):
    array = np.zeros((4, 2), np.float32)
    for form, more in ((torch_files.zip_file, []), (torch_files.legacy_file, [b"N"])):
        path = tmp_path / "beyond.pth"
        tensor = torch_files.tensor("0", array, *more, **view)
        content = torch_files.ordered({"conv1.weight": tensor})
        path.write_bytes(form(content, {"conv1.weight": array}))
        assert "the tensor conv1.weight does not fit its data" in mistake(path)


def test_torch_files_of_other_makes_are_named(tmp_path, arrays):
    path = tmp_path / "weights.pth"
    state = torch_files.state_dict(arrays)
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
    loaded = load(tmp_path / "net.pt", layout=layout, **SMALL)
    assert loaded.pool == pool
    x = images()
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    ours = ResNet(**SMALL, layout=layout, pool=pool).apply({"params": loaded.params}, x)
    assert largest_difference(ours, expected) < 1e-5
