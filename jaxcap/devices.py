"""The devices: how many there are, what they are good at, and how much memory is free."""

from pathlib import Path
from typing import NamedTuple

import jax

from jaxcap import processes
from jaxcap.models.products import multiplies_bfloat16

CPU_INFO = Path("/proc/cpuinfo")  # Linux
MEMORY_INFO = Path("/proc/meminfo")


class MachineMemory(NamedTuple):
    """The machine's memory in bytes.

    Attributes:
      total: all of it.
      free: what programs can have without others being swapped out.
    """

    total: int
    free: int


def device_count() -> int:
    """Returns how many devices a batch is shared out over, those of all processes."""
    return local_device_count() * processes.count()


def local_device_count() -> int:
    """Returns how many devices this process computes on."""
    return jax.local_device_count()


def describe() -> str:
    """Returns one line that names the devices, as "8 x TPU v3"."""
    devices = f"{device_count()} x {jax.local_devices()[0].device_kind}"
    count = processes.count()
    return devices if count == 1 else f"{devices} in {count} processes"


def photos_at_once() -> int:
    """Returns how many photos to caption in one call where nothing is asked for.

    Processors gain nothing from more than a few, and would hold what the encoder makes of them in
    the machine's memory.
    """
    return 4 if is_processor() else 32


def fastest_dtype() -> str:
    """Returns the type of the factors in which the devices multiply matrices fastest.

    It is "bfloat16" on processors with AMX for it, on NVIDIA GPUs of compute capability 8.0 or more
    and on TPUs, unless this jaxlib does not take such products, and "float32" on everything else.
    """
    has_units = _has_bfloat16_units(jax.local_devices()[0])
    return "bfloat16" if has_units and multiplies_bfloat16() else "float32"


def is_processor() -> bool:
    """Tells whether the devices are processors, with caches that are small beside an accelerator's.

    What they compute is then best cut into pieces; an accelerator wants few and large ones.
    """
    return jax.local_devices()[0].platform == "cpu"


def shares_memory() -> bool:
    """Tells whether all devices use the memory of the machine, as processors do."""
    return is_processor()


def free_memory() -> int | None:
    """Returns how many bytes are free on each device, or on the machine where devices share its.

    None where the system does not tell.
    """
    if shares_memory():
        memory = read_machine_memory()
        return memory.free if memory else None
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" not in stats:
        return None
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0)


def read_machine_memory() -> MachineMemory | None:
    """Reads how much memory the machine has; None where the system does not tell."""
    found = {}
    try:
        for line in MEMORY_INFO.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            found[name] = 1024 * int(value.split()[0])  # given in KiB
        return MachineMemory(found["MemTotal"], found["MemAvailable"])
    except (OSError, ValueError, LookupError):
        return None


def _has_bfloat16_units(device: jax.Device) -> bool:
    if device.platform == "tpu":
        return True
    if device.platform == "gpu":
        # NVIDIA's is a number as "8.0", AMD's a name as "gfx90a".
        major = str(getattr(device, "compute_capability", "")).partition(".")[0]
        return major.isdecimal() and int(major) >= 8
    # AVX512-BF16 alone does not count: without AMX such products take longer than those of float32.
    return device.platform == "cpu" and "amx_bf16" in _cpu_flags()


def _cpu_flags() -> list[str]:
    """Returns what the first processor is said to be able to do; nothing where this is not told."""
    try:
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = [line for line in text.splitlines() if line.startswith("flags")]
    return lines[0].split() if lines else []


def factor_rounding() -> float:
    """Returns the relative error to which the devices round the factors of float32 products.

    By default GPUs round them to TF32 and TPUs to bfloat16.
    """
    bits = {"cpu": 24, "tpu": 9}
    return 2.0 ** -bits.get(jax.local_devices()[0].platform, 11)
