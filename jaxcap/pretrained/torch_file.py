"""PyTorch's .pth files, read without PyTorch and without trust.

Such a file is a pickle, which may name any function of any module and have it called. The reader
here knows the few names that a dictionary of tensors needs and refuses every other. A tensor's
bytes lie outside the pickle: in a member of the zip archive each, or, in the format that was
written until 2020, one after the other behind it.
"""

import functools
import io
import math
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcap.errors import UserError
from jaxcap.io.unpickling import Reader, Unpickler, check_keys

DTYPES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": jnp.dtype("bfloat16"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
MAGIC = 0x1950A86A20F9469CFC6C  # the first object of the older format
BIG_ENDIAN = (
    "written on a big-endian machine: load it there with PyTorch and save it as .safetensors"
)


class _Storage(NamedTuple):
    """Where a tensor's bytes are: the key of a storage, and a name in DTYPES."""

    key: str
    dtype: str


class _Tensor(NamedTuple):
    """A tensor as the pickle describes it: a view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a .pth file; nothing in it is run.

    Args:
      path: a state dict as `torch.save` writes it, in the zip format or the one before; it may lie
        in a checkpoint's "state_dict" or "model", and its names may begin with "module.".

    Returns:
      The tensors by name, in the file's order.

    Raises:
      UserError: the file asks for anything but tensors, or it is truncated, damaged or of another
        kind.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _read_zip(file) if is_zip else _read_legacy(file)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError:
        raise
    except Exception as error:  # a damaged pickle or archive may raise anything
        raise UserError(
            f"{path}: truncated, damaged or not a PyTorch file ({type(error).__name__}: {error}): "
            "fetch it again"
        ) from error


def _read_zip(file: io.BufferedReader) -> dict[str, np.ndarray]:
    """Reads the format of PyTorch 1.6 and later."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        members = archive.infolist()
        if not pickles or any(info.compress_type != zipfile.ZIP_STORED for info in members):
            raise UserError(
                "a zip archive that PyTorch did not write: save the network's state_dict() with "
                "torch.save"
            )
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise UserError(BIG_ENDIAN)
        # Read whole before it is unpickled, so that the checksum at its end is compared first.
        content = _Unpickler(io.BytesIO(archive.read(pickles[0]))).load()

        def read(storage: _Storage) -> bytes:
            return archive.read(f"{root}data/{storage.key}")

        return _make_arrays(_find_tensors(content), read)


def _read_legacy(file: io.BufferedReader) -> dict[str, np.ndarray]:
    """Reads the format before it: five pickles, then each storage's size and bytes.

    The pickles are magic number, version, system, content and the storages' keys.
    """
    if tarfile.is_tarfile(file) or _Unpickler(file).load() != MAGIC:
        raise UserError(
            "not in a format that torch.save has written since 2017: load it with PyTorch and save "
            "it again"
        )
    _Unpickler(file).load()
    if not _Unpickler(file).load()["little_endian"]:
        raise UserError(BIG_ENDIAN)
    unpickler = _Unpickler(file)
    tensors = _find_tensors(unpickler.load())
    data = {}
    for key in _Unpickler(file).load():
        size = int.from_bytes(file.read(8), "little")
        data[key] = Reader(file).read(size * DTYPES[unpickler.storages[key].dtype].itemsize)

    def read(storage: _Storage) -> bytes:
        return data[storage.key]

    return _make_arrays(tensors, read)


class _Unpickler(Unpickler):
    """Unpickles tensors as descriptions of themselves, plain values, and nothing else."""

    def __init__(self, file: io.BufferedIOBase):
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "collections", "OrderedDict":
                return self._make_ordered
            case "torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor":
                return _rebuild_tensor
            case "torch._utils", "_rebuild_parameter":
                return _rebuild_parameter
            case "torch", "Size":
                return self._make_size
            case "torch", name if name in DTYPES:
                return name
        raise UserError(
            f"asks for {module[:60]}.{name[:60]}, which no plain state dict does: it is not read, "
            "as it might run code; save the network's state_dict() alone"
        )

    def persistent_load(self, identifier: tuple) -> _Storage:
        kind, dtype, key, _location, _size, *view = identifier
        are_names = isinstance(dtype, str) and isinstance(key, str)
        if not are_names or kind != "storage" or dtype not in DTYPES or any(view):
            raise UserError(
                "refers to something that is no tensor's storage: save it again with PyTorch"
            )
        return self.storages.setdefault(key, _Storage(key, dtype))

    def _make_ordered(self, pairs: Iterable = ()) -> OrderedDict:
        """Makes a dictionary, empty or (as Python 2 saved it) of pairs."""
        ordered = OrderedDict()
        for key, value in self.allow_copy(pairs):
            check_keys([key])
            ordered[key] = value
        return ordered

    def _make_size(self, sizes: Iterable) -> tuple:
        return tuple(self.allow_copy(sizes))


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _find_tensors(content: Any) -> dict[str, _Tensor]:
    """Finds the state dict in what was unpickled."""
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {name: value for name, value in content.items() if isinstance(value, _Tensor)}
    if not tensors:
        raise UserError("holds no dictionary of tensors: save the network's state_dict()")
    return {str(name).removeprefix("module."): tensor for name, tensor in tensors.items()}


def _make_arrays(
    tensors: Mapping[str, _Tensor], read: Callable[[_Storage], bytes]
) -> dict[str, np.ndarray]:
    """Makes arrays of the descriptions, each within the bounds of its storage."""
    arrays = {}
    read = functools.cache(read)  # tensors may share a storage
    for name, (storage, offset, shape, strides) in tensors.items():
        flat = np.frombuffer(read(storage), DTYPES[storage.dtype])
        if not _fits(len(flat), offset, shape, strides):
            raise UserError(f"the tensor {name} does not fit its data: fetch the file again")
        steps = [stride * flat.itemsize for stride in strides]
        arrays[name] = np.lib.stride_tricks.as_strided(flat[offset:], shape, steps, writeable=False)
    return arrays


def _fits(length: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Tells whether a tensor lies within a storage of `length` numbers."""
    # Checked first: few and small numbers, so that even a hostile file's product is quickly made.
    if len(shape) > 64 or not all(0 <= number < 2**63 for number in (offset, *shape, *strides)):
        return False
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    return last < length and math.prod(shape) <= length
