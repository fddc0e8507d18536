"""The flags of XLA that tests set, before JAX reads them and for the commands that they start."""

import os
from importlib import metadata

DEVICES = "--xla_force_host_platform_device_count"
# Most of a test's time is XLA's compiler. These flags take a train step from 25 s to 2 s; products
# and convolutions are computed by the same libraries with them.
_QUICK = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    # In one piece: both processors are busy with tests, and cutting a program up takes a seventh.
    "--xla_cpu_parallel_codegen_split_count=1",
)
# Of that, most is this flag's, which later versions of XLA no longer know.
_QUICKEST = "--xla_cpu_use_fusion_emitters=false"


def compile_quickly() -> dict[str, str]:
    """The environment of a process whose compiler hardly optimises; flags that are set stay."""
    version = [int(number) for number in metadata.version("jaxlib").split(".")[:2]]
    flags = [*_QUICK, _QUICKEST] if version <= [0, 10] else _QUICK
    return {"XLA_FLAGS": " ".join([*flags, *_flags()])}


def virtual_devices(count: int) -> dict[str, str]:
    """The environment of a process with `count` devices: a machine with one processor looks to JAX
    like one with several. Other flags stay as they are.
    """
    flags = [flag for flag in _flags() if not flag.startswith(DEVICES)]
    return {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": " ".join([*flags, f"{DEVICES}={count}"]),
        # many virtual devices on few cores can deadlock unless XLA believes in more cores
        "NPROC": "16",
    }


def _flags() -> list[str]:
    return os.environ.get("XLA_FLAGS", "").split()
