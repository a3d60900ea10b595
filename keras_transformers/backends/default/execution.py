"""Running decoding loops, and single passes over a batch.

A loop runs in segments, `run_segment`: as many steps as the host asks for, or until all sentences are done. Between two
segments the host may read the state, make room in the cache and drop finished sentences.

    jax          one jitted `lax.while_loop`; the model's weights are arguments (as constants they would be copied, and
                 compiled again after each change), state and cache are donated
    tensorflow   one `tf.function` with a `tf.while_loop`, compiled by XLA
    torch        a Python loop under `inference_mode`, over layers without the overhead of Keras calls (`direct`); the
                 cache is written in place. If the model's `jit_compile` is set, `torch.compile` compiles a step

Compiled functions are kept on the model object, by step function and strategy. Each has one compilation for every shape
so far.
"""

import collections
import dataclasses
import os
import typing
from collections.abc import Callable, Hashable, Sequence

import keras
import numpy as np

from keras_transformers.backends.default import arrays
from keras_transformers.backends.types import Tensor

SHAPES_MAY_VARY = False
"""Whether functions run eagerly, for tensors of any shape. If not, they are compiled for each new shape, so that
callers should pad their tensors to a few shapes."""

compilations: collections.Counter[Hashable] = collections.Counter()
"""How often each kind of function was compiled in this process: "prefill", "segment", "ahead", "forward". PyTorch has
its own counters, `torch._dynamo.utils.counters`. Compare before and after a call to see whether it met new shapes."""

State: typing.TypeAlias = typing.Any
Cache: typing.TypeAlias = typing.Any
Step: typing.TypeAlias = Callable[[Tensor, Cache], tuple[Tensor, Cache]]
Inputs: typing.TypeAlias = dict[str, np.ndarray]


class Loop(typing.Protocol):
    """A step function and a strategy, compared by value, so that equal loops share compiled functions.

    A cache is a named tuple with an `offset`, the number of positions that it holds.
    """

    @property
    def step(self) -> Step:
        """`(token_ids [R, T], cache) -> (logits, cache)`."""

    @property
    def strategy(self) -> typing.Any:
        """The strategy: `advance(state, logits, limit, noise) -> (state, rows or None)` chooses tokens, and
        `done(state) -> [B]` returns which sentences are complete."""

    def advance(self, state: State, cache: Cache, limit: arrays.Position, noise: Tensor) -> tuple[State, Cache]:
        """Take one step. Returns the state and the cache after it."""

    def split(self, cache: Cache) -> tuple[typing.Any, typing.Any]:
        """The part of a cache that a step writes, and the part that it only reads."""

    def joined(self, written: typing.Any, read: typing.Any) -> Cache:
        """Join both parts to a cache: the inverse of `split`."""

    def trim(self, cache: Cache, length: arrays.Position) -> Cache:
        """The cache as it was with `length` positions."""


def kept(
    model: typing.Any, variables: Sequence[typing.Any], key: Hashable, make: Callable[[], typing.Any]
) -> typing.Any:
    """The result of `make()`, cached for this model with these variables and this key."""
    if model is None:
        return make()
    # Other variables (an adapter, a quantized kernel) mean another computation.
    place = (key, tuple(map(id, variables)))
    if not hasattr(model, _ATTRIBUTE):
        # Bypass the attribute tracking of Keras: these are not part of the model's state.
        object.__setattr__(model, _ATTRIBUTE, {})
    functions = getattr(model, _ATTRIBUTE)
    if place not in functions:
        functions[place] = make()
    return functions[place]


def keep(model: typing.Any, key: Hashable, value: typing.Any) -> None:
    """Make `kept` return `value` for this model, no variables and this key."""
    getattr(model, _ATTRIBUTE)[key, ()] = value


def forget(model: typing.Any) -> None:
    """Drop all cached values of a model, after its layers have changed."""
    getattr(model, _ATTRIBUTE, {}).clear()


_ATTRIBUTE = "_generation_functions"


def variables_of(model: typing.Any) -> list[typing.Any]:
    """The variables of the model. Keras walks all layers to find them: call this once for each run."""
    return [] if model is None else model.variables


def without_gradients(function: Callable[..., typing.Any]) -> Callable[..., typing.Any]:
    """Decorate a function that needs no gradients."""
    return function


def fast_step(step: Step) -> Step:
    """`step` for one generation, without the overhead of Keras for each call of a layer."""
    return step  # the overhead is paid once, while tracing


def _as_it_is(
    model: typing.Any, key: tuple[Hashable, ...], function: Callable[..., typing.Any], **options: typing.Any
) -> Callable[..., typing.Any]:
    """Return the function: nothing is compiled."""
    return function


def _no_kernels(model: typing.Any, step: Step, shape: Sequence[int], cache: Cache) -> typing.Any:
    """Return None: the backend transposes no kernels."""
    return None


def _called(model: typing.Any, compiled: Callable[..., typing.Any], inputs: Inputs) -> Tensor:
    """Call a compiled function with the inputs."""
    return compiled(inputs)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """Loops and passes of a backend that compiles functions.

    Attributes:
        compile: `(model, key, function, donated=, kernels=, vocabulary=) -> function`, which overwrites its `donated`
            arguments, and may read transposed `kernels`. `vocabulary`: whether the function multiplies with a
            vocabulary.
        loop: `(condition, body, carried) -> carried`, a while-loop.
        kernels: `(model, step, shape, cache) -> kernels` for `compile`; `shape` is that of the token ids.
        call: `(model, compiled, inputs) -> outputs`, for a dictionary of numpy arrays.
    """

    compile: Callable[..., Callable[..., typing.Any]] = _as_it_is
    loop: Callable[..., typing.Any] = keras.ops.while_loop
    kernels: Callable[..., typing.Any] = _no_kernels
    call: Callable[..., Tensor] = _called

    def forward(
        self, model: typing.Any, function: Callable[..., Tensor], vocabulary: bool
    ) -> Callable[[Inputs], np.ndarray]:
        """See the function `forward`."""
        compiled = self.compile(
            model,
            (function, "forward"),
            lambda inputs: keras.ops.cast(function(inputs), "float32"),
            vocabulary=vocabulary,
        )
        return lambda inputs: np.asarray(self.call(model, compiled, inputs))

    def prefill(self, model: typing.Any, step: Step, token_ids: Tensor, cache: Cache) -> Cache:
        """See the function `prefill`."""
        return self.compile(model, (step, "prefill"), lambda *arguments: step(*arguments)[1])(token_ids, cache)

    def run_segment(
        self,
        model: typing.Any,
        loop: Loop,
        state: State,
        cache: Cache,
        limit: arrays.Position,
        noise: Tensor,
        max_steps: int,
    ) -> tuple[State, Cache]:
        """See the function `run_segment`."""

        def segment(
            state: State, written: typing.Any, read: typing.Any, limit: Tensor, noise: Tensor, max_steps: Tensor
        ) -> tuple[State, typing.Any]:
            # The loop carries only the part of the cache that a step writes.
            stop = keras.ops.minimum(state.position + max_steps, limit)

            def condition(state: State, written: typing.Any) -> Tensor:
                return (state.position < stop) & keras.ops.any(~loop.strategy.done(state))

            def body(state: State, written: typing.Any) -> tuple[State, typing.Any]:
                state, cache = loop.advance(state, loop.joined(written, read), limit, noise)
                return state, loop.split(cache)[0]

            return self.loop(condition, body, (state, written))

        kernels = self.kernels(model, loop.step, state.token_ids.shape, cache)
        run = self.compile(model, (loop, "segment"), segment, donated=(0, 1), kernels=kernels)
        written, read = loop.split(cache)
        state, written = run(state, written, read, arrays.scalar(limit), noise, arrays.scalar(max_steps))
        return state, loop.joined(written, read)

    def run_ahead(
        self,
        model: typing.Any,
        loop: Loop,
        state: State,
        cache: Cache,
        guesses: list[int],
        limit: arrays.Position,
        noise: Tensor,
    ) -> tuple[State, Cache]:
        """See the function `run_ahead`."""
        strategy = loop.strategy

        def ahead(
            state: State, written: typing.Any, read: typing.Any, guesses: Tensor, limit: Tensor, noise: Tensor
        ) -> tuple[State, typing.Any]:
            before = loop.joined(written, read)
            logits, after = loop.step(arrays.join(state.token_ids, guesses), before)
            start, right = state.position, keras.ops.convert_to_tensor(True)
            for place in range(logits.shape[1]):
                next_state, _ = strategy.advance(state, logits[:, place], limit, noise)
                state = type(state)(*(keras.ops.where(right, *pair) for pair in zip(next_state, state, strict=True)))
                if place < guesses.shape[1]:
                    stopped = keras.ops.any(strategy.done(state)) | (state.position >= limit)
                    right = right & (state.token_ids[0, 0] == guesses[0, place]) & ~stopped
            return state, loop.split(loop.trim(after, before.offset + state.position - start))[0]

        tokens = arrays.tensor(np.array([guesses], "int32"))
        kernels = self.kernels(model, loop.step, (1, 1 + tokens.shape[1]), cache)
        run = self.compile(model, (loop, "ahead"), ahead, donated=(0, 1), kernels=kernels)
        written, read = loop.split(cache)
        state, written = run(state, written, read, tokens, arrays.scalar(limit), noise)
        return state, loop.joined(written, read)


_plain = Compiled()


def forward(model: typing.Any, function: Callable[..., Tensor], vocabulary: bool) -> Callable[[Inputs], np.ndarray]:
    """`function`, a method of the model, as a function from a dictionary of numpy arrays to a float32 array. It is
    compiled once for each shape, and fast while the weights do not change. `vocabulary`: whether it multiplies with a
    vocabulary."""
    return _plain.forward(model, function, vocabulary)


def prefill(model: typing.Any, step: Step, token_ids: Tensor, cache: Cache) -> Cache:
    """The cache after reading the prompt, int32 `[B, T]`, without computing logits."""
    return _plain.prefill(model, step, token_ids, cache)


def run_segment(
    model: typing.Any,
    loop: Loop,
    state: State,
    cache: Cache,
    limit: arrays.Position,
    noise: Tensor,
    max_steps: int,
) -> tuple[State, Cache]:
    """Run up to `max_steps` steps, fewer if `limit` is reached or all sentences are done. Returns the state and the
    cache."""
    return _plain.run_segment(model, loop, state, cache, limit, noise, max_steps)


def run_ahead(
    model: typing.Any,
    loop: Loop,
    state: State,
    cache: Cache,
    guesses: list[int],
    limit: arrays.Position,
    noise: Tensor,
) -> tuple[State, Cache]:
    """Run a step for each correct guess in `guesses`, a list of ids, and one more, with one pass of the loop's step:
    `(token_ids [1, T], cache) -> (logits [1, T, V], cache)`. Returns the state and the cache."""
    return _plain.run_ahead(model, loop, state, cache, guesses, limit, noise)


def save_module(folder: str | os.PathLike, make: Callable[[], tuple[typing.Any, dict[str, typing.Any]]]) -> None:
    """Write a `tf.Module` to a folder as a TensorFlow SavedModel, with its signatures.

    Args:
        folder: where to write.
        make: a function that returns the module, and by name the functions that are its signatures. It is called
            on TensorFlow alone.

    Raises:
        RuntimeError: on another backend.
    """
    raise RuntimeError(
        f"Expected the TensorFlow backend, whose format a SavedModel is, got {keras.backend.backend()}. Save "
        "the model, and load it with KERAS_BACKEND=tensorflow."
    )
