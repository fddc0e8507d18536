"""PyTorch's files made by hand, opcode by opcode: without PyTorch, and with what it would never
write.
"""

import io
import pickle
import struct
import zipfile

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
SYSTEM = {
    "protocol_version": PROTOCOL,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}
STORAGES = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "float64": "DoubleStorage",
    "int64": "LongStorage",
}


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value):
    return b"J" + struct.pack("<i", value)


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def several(*items):
    return b"(" + b"".join(items) + b"t"


def call(function, *arguments):
    return function + several(*arguments) + b"R"


def storage(key, array, *more):
    kind = named("torch", STORAGES[str(array.dtype)])
    return several(text("storage"), kind, text(key), text("cpu"), integer(array.size), *more) + b"Q"


def tensor(key, array, *more, shape=None, strides=None, offset=0):
    shape = array.shape if shape is None else shape
    strides = [step // array.itemsize for step in array.strides] if strides is None else strides
    return call(
        named("torch._utils", "_rebuild_tensor_v2"),
        storage(key, array, *more),
        integer(offset),
        several(*map(integer, shape)),
        several(*map(integer, strides)),
        b"\x89",
        call(named("collections", "OrderedDict")),
    )


def ordered(items):
    """Pickles an OrderedDict of pickled values."""
    pairs = b"".join(text(name) + value for name, value in items.items())
    return call(named("collections", "OrderedDict")) + b"(" + pairs + b"u"


def state_dict(arrays, *more):
    return ordered(
        {name: tensor(str(key), array, *more) for key, (name, array) in enumerate(arrays.items())}
    )


def whole(pickled):
    return b"\x80\x02" + pickled + b"."


def zip_file(pickled, arrays, compression=zipfile.ZIP_STORED, byteorder=b"little"):
    """Returns the bytes of a file in PyTorch's present format."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", whole(pickled))
        archive.writestr("archive/byteorder", byteorder)
        for key, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", b"3\n")
    return file.getvalue()


def legacy_file(pickled, arrays, system=None, keys=None):
    """Returns the bytes of a file in PyTorch's format before."""
    parts = [pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL)]
    parts.append(pickle.dumps(SYSTEM, 2) if system is None else whole(system))
    parts.append(whole(pickled))
    parts.append(
        pickle.dumps([str(key) for key in range(len(arrays))], 2) if keys is None else whole(keys)
    )
    parts.extend(struct.pack("<q", array.size) + array.tobytes() for array in arrays.values())
    return b"".join(parts)


def saved(arrays, form):
    """Returns the bytes of a file of these arrays, "zip" or "legacy"."""
    arrays = {name: np.array(array, order="C") for name, array in arrays.items()}
    if form == "zip":
        return zip_file(state_dict(arrays), arrays)
    return legacy_file(state_dict(arrays, b"N"), arrays)
