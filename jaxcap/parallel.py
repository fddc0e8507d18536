"""Functions over all devices: everything else passes arrays in and gets arrays out.

Of several processes (see `processes`) each passes in what it has read of a batch's photos, its own
share, and everything else of the whole batch.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from jaxcap import processes
from jaxcap.devices import device_count, local_device_count
from jaxcap.errors import UserError

Batch = Mapping[str, Any]  # of arrays [B, ...]
# From the arrays of a batch but those of `PHOTOS`, shared out over all devices, to static arguments
# of a step.
Choose = Callable[[Batch], Mapping[str, Any]]
# From the name of an array of a batch to its axis of images.
ImageAxis = Callable[[str], int]

AXIS = "devices"
# What is read of photos: each process reads no more than its own share of a batch.
PHOTOS = ("features", "grid", "images")


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


def _first_axis(_: str) -> int:
    return 0


def compile_train_step(
    step: Callable,
    choose: Choose | None = None,
    image_axis: ImageAxis = _first_axis,
) -> Callable:
    """Compiles `step(state, constants, batch, axis_name=...)` for all devices.

    The state enters and leaves unreplicated, as if there were one device; its buffers are donated,
    so the state that went in must not be used again. The constants, frozen parameters above all,
    are not donated.

    Args:
      step: of one device.
      choose: what `step` takes besides, by keyword, for what `spread` makes of the batch; it is
        compiled anew for each value.
      image_axis: from the name of one of the batch's arrays to its axis of images.

    Returns:
      Compiled (state, constants, batch, **chosen) -> (state, metrics); what is chosen by keyword
      goes to `step` too.
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

    def call(state: Any, constants: Any, batch: Batch, **chosen: Any) -> Any:
        selected = select(spread(batch, image_axis), **chosen)
        return selected(_prepare_donation(state), constants, shard(batch, image_axis))

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
) -> Callable[..., Callable]:
    """Returns what selects the program for a batch, each compiled when first selected."""
    compiled = cache(compile_chosen)

    def select(spread_batch: Any, **chosen: Any) -> Callable:
        if choose is not None:
            chosen |= choose(spread_batch)
        return compiled(**chosen)

    return select


def put(tree: Any) -> Any:
    """Copies arrays of the host to the device that computes where nothing else is said.

    All at once: `jnp.asarray` compiles a program for each shape.
    """
    return jax.device_put(tree)


def replicate(tree: Any) -> Any:
    """Copies arrays to every device once, so that no step has to do it again."""
    if not jax.tree.leaves(tree):
        return tree
    return _replicate()(np.arange(local_device_count()), tree)


@cache
def _replicate() -> Callable:
    # On the axis of the steps: what lies along another one counts as new, and compiles them again.
    return jax.pmap(lambda _, tree: tree, AXIS, in_axes=(0, None), out_axes=None)


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
    if device_count() == 1:
        return jax.jit(function)  # which is traced sooner
    own = None if processes.count() == 1 else jax.local_devices()
    mapped = jax.pmap(function, AXIS, in_axes=(None, 0), devices=own)

    def call(params: Any, batch: Any) -> Any:
        images = len(jax.tree.leaves(batch)[0])
        devices = local_device_count()
        padded = pad_batch(batch, images + -images % devices)
        return _join(mapped(params, jax.tree.map(lambda x: _split(x, devices), padded)), images)

    return call


@partial(jax.jit, static_argnames="images")
def _join(results: Any, images: int) -> Any:
    """Puts the devices' images [devices, B / devices, ...] behind each other, without padding."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:images], results)


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


def shard(batch: Batch, image_axis: ImageAxis = _first_axis) -> dict[str, Any]:
    """Splits this process's share of a batch over its devices.

    Args:
      batch: arrays [B, ...], those of `PHOTOS` of this process's share alone.
      image_axis: from the name of an array to the axis of B; what stands before it stays, behind
        the devices.

    Returns:
      Arrays [devices, B / devices, ...].
    """
    sharded = {}
    for name, array in batch.items():
        axis = image_axis(name)
        if name not in PHOTOS:
            share = processes.take_share(array.shape[axis])
            array = array[(slice(None),) * axis + (share,)]
        sharded[name] = _split(array, local_device_count(), axis)
    return sharded


def spread(batch: Batch, image_axis: ImageAxis = _first_axis) -> dict[str, Any]:
    """Splits what all processes hold of a batch over all devices, as `shard` does."""
    spread_batch = {}
    for name, array in batch.items():
        if name not in PHOTOS:
            spread_batch[name] = _split(array, device_count(), image_axis(name))
    return spread_batch


def _split(array: Any, parts: int, axis: int = 0) -> Any:
    """Splits an axis, and moves its parts to the front: [B, ...] -> [parts, B / parts, ...]."""
    split = array.reshape(*array.shape[:axis], parts, -1, *array.shape[axis + 1 :])
    return np.moveaxis(split, axis, 0) if axis else split
