"""Parameters of modules, whose initializers are traced only where parameters are drawn."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import ScopeParamShapeError


class Params:
    """Comes before `nn.Module` among a module's bases.

    flax traces the initializer of every parameter that a module is applied with, for its shape
    alone. Of an encoder that takes longer than to trace what it computes.
    """

    @nn.nowrap
    def param(self: Any, name: str, init: Callable, shape: Sequence[int], *dtype: Any) -> jax.Array:
        """Returns a parameter: the given one or, with a random key, one that `init` draws.

        Without either it is zeros, as `trace_variables` wants it.

        Raises:
          ScopeParamShapeError: the given one has another shape.
        """
        if self.has_variable("params", name):
            value = self.get_variable("params", name)
            if value.shape != tuple(shape):
                raise ScopeParamShapeError(name, "/".join(self.path), value.shape, shape)
            return value
        if self.has_rng("params"):
            draw = functools.partial(_draw, init)
            return nn.Module.param(self, name, draw, tuple(shape), *dtype)
        return self.variable("params", name, jnp.zeros, shape).value


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _draw(init: Callable, key: jax.Array, shape: Sequence[int], *dtype: Any) -> jax.Array:
    """Draws a parameter; those alike are traced and lowered once."""
    return init(key, shape, *dtype)


class Conv(Params, nn.Conv):
    """A convolution."""


class Embed(Params, nn.Embed):
    """A word embedding."""


class BatchNorm(Params, nn.BatchNorm):
    """A batch normalization."""


@functools.partial(jax.jit, static_argnums=0, static_argnames="method")
def draw_variables(module: nn.Module, key: jax.Array, *args: Any, method: str | None = None) -> Any:
    """Calls `nn.Module.init` as one program, which equal modules share.

    Args:
      module: whose variables are drawn.
      key: to draw them with.
      args: what it is called with.
      method: what is called instead of the module itself.
    """
    return module.init(key, *args, method=method)


def trace_variables(module: nn.Module, *args: Any) -> Any:
    """Returns the shapes of what `nn.Module.init` would make, without tracing how it is drawn.

    Args:
      module: made of modules that are `Params`.
      args: what it is called with, or the shapes of it.

    Returns:
      "params" and, where there are BatchNorms that are not folded, "batch_stats".
    """
    apply = functools.partial(module.apply, {}, mutable=["params", "batch_stats"])
    _, variables = jax.eval_shape(apply, *args)
    return variables
