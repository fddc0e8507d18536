"""Devices, which no other file names: everything else passes arrays in and gets arrays out.

Of several processes (see `processes`) each passes in what it has read of a batch's photos, its own
share, and everything else of the whole batch.
"""

from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcap import processes
from jaxcap.errors import UserError
from jaxcap.models.layers import multiplies_bfloat16

Batch = Mapping[str, Any]  # of arrays [B, ...]
# From the arrays of a batch but those of `PHOTOS`, shared out over all devices, to static arguments
# of a step.
Choose = Callable[[Batch], Mapping[str, Any]]

AXIS = "devices"
# What is read of photos: each process reads no more than its own share of a batch.
PHOTOS = ("features", "grid", "images")
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


def check_batch_size(batch_size: int, key: str) -> None:
    """Checks that a batch divides evenly over the devices.

    Args:
      batch_size: of the batch.
      key: names it in the config.

    Raises:
      UserError: it does not.
    """
    if batch_size < 1 or batch_size % device_count():
        raise UserError(
            f"{key}={batch_size} does not divide over {device_count()} devices: choose a positive "
            "multiple of it"
        )


def compile_train_step(step: Callable, choose: Choose | None = None) -> Callable:
    """Compiles `step(state, frozen, batch, axis_name=...)` for all devices.

    The state enters and leaves unreplicated, as if there were one device; its buffers are donated,
    so the state that went in must not be used again. The frozen parameters are not donated.

    Args:
      step: of one device.
      choose: what `step` takes besides, by keyword, for the batch's arrays
        [devices, B / devices, ...]; it is compiled anew for each value.
    """

    def compile_chosen(**chosen: Any) -> Callable:
        return jax.pmap(
            partial(step, axis_name=AXIS, **chosen),
            AXIS,
            in_axes=(None, None, 0),
            out_axes=(None, None),
            donate_argnums=0,
        )

    select = _compile_once(compile_chosen, choose)

    def call(state: Any, frozen: Any, batch: Batch) -> Any:
        return select(spread(batch))(_prepare_donation(state), frozen, shard(batch))

    return call


def compile_replica_step(
    step: Callable,
    frozen_axes: Any,
    stacked: Collection[str] | None,
    choose: Choose | None = None,
) -> Callable:
    """Compiles `step(state, frozen, batch, seed=..., axis_name=...)` of several replicas.

    Args:
      step: of one replica; it is mapped over the first axis of states and seeds.
      frozen_axes: a tree as the frozen parameters, 0 where they are stacked and None where the
        replicas share them.
      stacked: the names of the batch's arrays that are stacked, [N, B, ...]; the replicas share
        the others, [B, ...]. None: all are stacked.
      choose: as of `compile_train_step`; stacked arrays are [devices, N, B / devices, ...].

    Returns:
      Compiled (states, frozen, batch, seeds=[N]) -> (states, metrics of [N] each); as of
      `compile_train_step`, the states that went in must not be used again.
    """

    def is_stacked(name: str) -> bool:
        return stacked is None or name in stacked

    def compile_chosen(**chosen: Any) -> Callable:
        def step_all(states: Any, frozen: Any, batch: Any, seeds: jax.Array) -> Any:
            batch_axes = {name: 0 if is_stacked(name) else None for name in batch}

            def step_one(state: Any, frozen: Any, batch: Any, seed: jax.Array) -> Any:
                return step(state, frozen, batch, seed=seed, axis_name=AXIS, **chosen)

            step_each = jax.vmap(step_one, in_axes=(0, frozen_axes, batch_axes, 0))
            return step_each(states, frozen, batch, seeds)

        return jax.pmap(
            step_all,
            AXIS,
            in_axes=(None, None, 0, None),
            out_axes=(None, None),
            donate_argnums=0,
        )

    select = _compile_once(compile_chosen, choose)

    def call(states: Any, frozen: Any, batch: Mapping[str, Any], seeds: np.ndarray) -> Any:
        by_image = {}
        for name, array in batch.items():
            by_image[name] = array.swapaxes(0, 1) if is_stacked(name) else array

        def stack_again(parts: Batch) -> dict[str, Any]:
            """Moves the replicas behind the devices: [devices, N, B / devices, ...]."""
            return {name: x.swapaxes(1, 2) if is_stacked(name) else x for name, x in parts.items()}

        select_for = select(stack_again(spread(by_image)))
        return select_for(_prepare_donation(states), frozen, stack_again(shard(by_image)), seeds)

    return call


def _prepare_donation(state: Any) -> Any:
    """Returns the state so that its buffers can be donated.

    With several processes pmap deletes a donated array that lies on one of several devices before
    it has been copied to the others. A step's own result lies on all of them.
    """
    if processes.count() == 1:
        return state
    everywhere = set(jax.local_devices())

    def prepare(leaf: Any) -> Any:
        on_all = isinstance(leaf, jax.Array) and leaf.sharding.device_set == everywhere
        return leaf if on_all else np.asarray(leaf)

    return jax.tree.map(prepare, state)


def _compile_once(
    compile_chosen: Callable[..., Callable], choose: Choose | None
) -> Callable[[Any], Callable]:
    """Returns what selects the program for a batch, each compiled when first selected."""
    compiled = cache(compile_chosen)
    return lambda spread_batch: compiled(**(choose(spread_batch) if choose else {}))


def replicate(tree: Any) -> Any:
    """Copies arrays to every device once, so that no step has to do it again."""
    if not jax.tree.leaves(tree):
        return tree
    copy = jax.pmap(lambda _, tree: tree, in_axes=(0, None), out_axes=None)
    return copy(np.arange(local_device_count()), tree)


def compile_eval_step(step: Callable, choose: Choose | None = None) -> Callable:
    """Compiles `step(params, batch, axis_name=...)` for all devices.

    Its result must be the same on every device.

    Args:
      step: of one device.
      choose: as of `compile_train_step`.
    """

    def compile_chosen(**chosen: Any) -> Callable:
        one = partial(step, axis_name=AXIS, **chosen)
        return jax.pmap(one, AXIS, in_axes=(None, 0), out_axes=None)

    select = _compile_once(compile_chosen, choose)

    def call(params: Any, batch: Batch) -> Any:
        return select(spread(batch))(params, shard(batch))

    return call


def compile_per_image(function: Callable) -> Callable:
    """Compiles `function(params, batch)` for all devices.

    Its results must have an image axis in front. A batch of any size is padded to a multiple of
    the devices, and the padding is cut off again. Of several processes, each gets the results of
    all images; their batches must divide over the devices.
    """
    if processes.count() == 1:
        return compile_per_own_image(function)

    def gather(params: Any, batch: Any) -> Any:
        return jax.lax.all_gather(function(params, batch), AXIS, tiled=True)

    mapped = jax.pmap(gather, AXIS, in_axes=(None, 0), out_axes=None)
    return lambda params, batch: mapped(params, shard(batch))


def compile_per_own_image(function: Callable) -> Callable:
    """Compiles `function(params, batch)` for the devices of this process, as `compile_per_image`.

    Args:
      function: of arrays [B, ...], all of them this process's own.
    """
    own = None if processes.count() == 1 else jax.local_devices()
    mapped = jax.pmap(function, AXIS, in_axes=(None, 0), devices=own)

    def call(params: Any, batch: Any) -> Any:
        images = len(jax.tree.leaves(batch)[0])
        devices = local_device_count()
        padded = pad_batch(batch, images + -images % devices)
        results = mapped(params, jax.tree.map(lambda x: _split(x, devices), padded))
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:images], results)

    return call


def start_maximum(number: int) -> jax.Array:
    """Starts to find out the greatest of all processes' numbers, and does not wait for it."""
    return _maximum()(np.full(local_device_count(), number, np.int32))


@cache
def _maximum() -> Callable:
    return jax.pmap(lambda x: jax.lax.pmax(x, AXIS), AXIS, out_axes=None)


def pad_batch(batch: Any, size: int) -> Any:
    """Fills arrays [B, ...] up to [size, ...] with their first item."""

    def pad(array: np.ndarray) -> np.ndarray:
        missing = size - len(array)
        if not missing:
            return array
        return np.concatenate([array, array[:1].repeat(missing, 0)])

    return jax.tree.map(pad, batch)


def shard(batch: Batch) -> dict[str, Any]:
    """Splits this process's share of a batch over its devices.

    Args:
      batch: arrays [B, ...], those of `PHOTOS` of this process's share alone.

    Returns:
      Arrays [devices, B / devices, ...].
    """
    sharded = {}
    for name, array in batch.items():
        own = array if name in PHOTOS else array[processes.take_share(len(array))]
        sharded[name] = _split(own, local_device_count())
    return sharded


def spread(batch: Batch) -> dict[str, Any]:
    """Splits what all processes hold of a batch over all devices, as `shard` does."""
    spread_batch = {}
    for name, array in batch.items():
        if name not in PHOTOS:
            spread_batch[name] = _split(array, device_count())
    return spread_batch


def _split(array: Any, parts: int) -> Any:
    """Splits the first axis: [B, ...] -> [parts, B / parts, ...]."""
    return array.reshape(parts, -1, *array.shape[1:])
