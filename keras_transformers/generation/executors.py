"""How each backend runs a decoding loop, or one pass over a batch, fast.

A loop is run in segments, `run_segment`: as many steps as the host asks for, or until all sentences are done. Between
two segments the host may look at the state, make room in the cache and drop finished sentences.

    jax          one jitted `lax.while_loop`; the model's weights are arguments (baked in they would be copied, and
                 compiled again after each change), state and cache are donated
    tensorflow   one `tf.function` with a `tf.while_loop`, compiled by XLA
    torch        a Python loop under `inference_mode`, over the layers without Keras's calls (`direct`); the cache is
                 written in place. Where the model's `jit_compile` is set, `torch.compile` makes a step one function

Compiled functions are kept on the model object, by step function and strategy; each holds one compilation for every
shape it has met.
"""

import collections
import functools
import math
import weakref

import keras
import numpy as np

from keras_transformers.backends import arrays
from keras_transformers.layers import cache as caches
from keras_transformers.layers import products
from keras_transformers.layers.heads import VocabularyHead

_ATTRIBUTE = "_generation_functions"

compilations: collections.Counter[str] = collections.Counter()
"""How often each kind of function was compiled in this process: "prefill", "segment", "ahead", "forward". PyTorch
counts its own, in `torch._dynamo.utils.counters`. Ask before and after to see whether a call met new shapes."""


def _advance(step, strategy, state, cache, limit, noise):
    logits, cache = step(state.token_ids, cache)
    state, rows = strategy.advance(state, logits, limit, noise)
    if rows is not None and not arrays.in_place_order(rows):
        cache = caches.reorder(cache, rows)
    return state, cache


def _while(loop, step, strategy, state, written, read, limit, noise, max_steps):
    """The compiled backends' segment: `loop(condition, body, carried)` is their own while-loop.

    Of the cache, only what is written is carried (`written`); what is only read (`read`) stays outside.
    """
    stop = keras.ops.minimum(state.position + max_steps, limit)

    def condition(state, written):
        return (state.position < stop) & keras.ops.any(~strategy.done(state))

    def body(state, written):
        state, cache = _advance(step, strategy, state, caches.joined(written, read), limit, noise)
        return state, caches.split(cache)[0]

    return loop(condition, body, (state, written))


def _kept(model, variables, key, make):
    """`make()`, or what it returned before for this model with these variables and this key."""
    if model is None:
        return make()
    # Other variables (an adapter, a quantized kernel) mean another computation.
    key = (key, tuple(map(id, variables)))
    if not hasattr(model, _ATTRIBUTE):
        # Past Keras's attribute tracking: these are no part of the model's state.
        object.__setattr__(model, _ATTRIBUTE, {})
    functions = getattr(model, _ATTRIBUTE)
    if key not in functions:
        functions[key] = make()
    return functions[key]


def forget(model):
    """Drop what is kept for a model whose layers are no longer what they were."""
    getattr(model, _ATTRIBUTE, {}).clear()


def _variables(model):
    """The model's variables. Keras walks all layers to find them: ask once for each run."""
    return [] if model is None else model.variables


def fast_step(step):
    """`step` as it is: what Keras does for each call of a layer is done once, while tracing."""
    return step


if keras.backend.backend() == "torch":
    import torch

    from keras_transformers.generation import direct

    without_gradients = torch.inference_mode()  # a decorator

    def fast_step(step):
        """`step` for one generation, without Keras's cost for each call of a layer."""
        with torch.inference_mode():
            eager = direct.method(step)
        model = getattr(step, "__self__", None)
        if not getattr(model, "jit_compile", False):
            return eager

        compiled = None

        def fast(token_ids, cache):
            nonlocal compiled
            if cache is None or token_ids.shape[1] > 1:  # a source, a prompt, guesses
                return eager(token_ids, cache)
            compiled = compiled or _current(model, step, _compiled_step)
            return compiled(token_ids, cache)

        return fast

    def _current(model, function, made):
        """`made(function)`, of a method of the model over its direct view, anew once a weight is written."""
        tensors = [variable.value for variable in _variables(model)]
        # A view may hold weights cast to another dtype: it is good until one is written.
        weights = tuple((id(tensor), None if tensor.is_inference() else tensor._version) for tensor in tensors)
        key = function, made
        then, current = _kept(model, (), key, lambda: (None, None))
        if then != weights:
            with torch.inference_mode():
                current = made(direct.method(function))
            getattr(model, _ATTRIBUTE)[key, ()] = weights, current
        return current

    def _by_dynamo(function):
        """`function` by `torch.compile`. The first call computes twice, to the same end: eagerly before, where its view
        meets its layers, which PyTorch would compile, too."""
        called = False

        def call(*arguments):
            return function(*arguments)

        call.__code__ = call.__code__.replace()  # PyTorch counts compilations by code, and gives up after eight
        compiled = torch.compile(call)

        def run(*arguments):
            nonlocal called
            if not called:
                function(*arguments)
            called = True
            return compiled(*arguments)

        return run

    def _compiled_step(step):
        """`step` for one token a row. The position is in a tensor, so all of the cache's room is attended to."""
        compiled = _by_dynamo(step)

        def run(token_ids, cache):
            if not all(hasattr(x, _OPEN) for x in keras.tree.flatten(cache.states)):
                cache = keras.tree.map_structure(_open, cache)
            offset = torch.full((), cache.offset, device=token_ids.device)
            logits, after = compiled(_open(token_ids), cache._replace(offset=offset))
            return logits, after._replace(offset=cache.offset + 1)

        return run

    def _compiled_pass(function):
        """`function` of a dictionary of tensors."""
        compiled = _by_dynamo(function)
        return lambda inputs: compiled({name: _open(tensor) for name, tensor in inputs.items()})

    def _as_it_is(function):
        return function

    _OPEN = "_keras_transformers_open"

    def _open(x):
        """A tensor `[R, K, S, H]`, `[B, S]` or `[B]` as a compiled function gets each: made in inference mode, rows and
        length open. What is one, or fixed by the code, PyTorch compiles by itself."""
        if not isinstance(x, torch.Tensor) or hasattr(x, _OPEN):
            return x
        x = x if x.is_inference() else x.clone()
        for axis in {0, max(x.ndim - 2, 1)} & set(range(x.ndim)):
            torch._dynamo.maybe_mark_dynamic(x, axis)
        setattr(x, _OPEN, True)
        return x

    def forward(model, function):
        """`function`, a method of the model, from a dictionary of numpy arrays to a float32 one: fast while the weights
        stay as they are."""
        computed = _current(model, function, _compiled_pass if getattr(model, "jit_compile", False) else _as_it_is)

        def run(inputs):
            with torch.inference_mode():
                tensors = {name: keras.ops.convert_to_tensor(array) for name, array in inputs.items()}
                return computed(tensors).float().cpu().numpy()

        return run

    # Shapes may vary: the first step may take a whole prompt.
    PREFILLS_IN_STEP = True

    def prefill(model, step, token_ids, cache):
        """The cache after the prompt, int32 `[B, T]`; the logits are not needed yet."""
        with torch.inference_mode():
            return fast_step(step)(token_ids, cache)[1]

    def run_segment(model, step, strategy, state, cache, limit, noise, max_steps):
        """Up to `max_steps` steps (a Python int), fewer if `limit` is reached or all sentences are done. Returns the
        state and the cache."""
        # Asking whether all are done makes the host wait for a GPU, so it asks seldom: steps taken after the end
        # change nothing.
        interval = 1 if state.token_ids.device.type == "cpu" else 8
        with torch.inference_mode():
            for taken in range(1, min(max_steps, limit - state.position) + 1):
                state, cache = _advance(step, strategy, state, cache, limit, noise)
                if taken % interval == 0 and bool(strategy.done(state).all()):
                    break
        return state, cache

    def run_ahead(model, score, strategy, state, cache, guesses, limit, noise):
        """A step for each guess, a list of ids, that turns out right, and one more, from one pass of `score`:
        `(token_ids [1, T], cache) -> (logits [1, T, V], cache)`. Returns the state and the cache."""
        with torch.inference_mode():
            token_ids = torch.cat((state.token_ids, arrays.tensor(np.array([guesses], "int32"))), dim=1)
            logits, after = score(token_ids, cache)
            for place, guess in enumerate([*guesses, None], 1):
                state, _ = strategy.advance(state, logits[:, place - 1], limit, noise)
                right = guess is not None and int(state.token_ids) == guess
                if not right or state.position >= limit or bool(strategy.done(state).all()):
                    break
        return state, caches.trim(after, cache.offset + place)

else:
    if keras.backend.backend() == "jax":
        import jax

        def _compiled(model, key, function, donated=(), turned=None, options=None):
            """`function(*arguments)` jitted; the model's variables are its first argument, and what `_turned` says its
            second."""
            variables, turned = _variables(model), turned or {}

            def make():
                places = {id(variable): place for place, variable in enumerate(variables)}

                def pure(values, turned, *arguments):
                    compilations[key[-1]] += 1
                    with (
                        keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))),
                        products.turned_kernels(lambda kernel: turned.get(places.get(id(kernel)))),
                    ):
                        return function(*arguments)

                return jax.jit(pure, donate_argnums=tuple(2 + index for index in donated), compiler_options=options)

            jitted = _kept(model, variables, key, make)
            return lambda *arguments: jitted([variable.value for variable in variables], turned, *arguments)

        def _turned(model, step, shape, cache):
            """The kernels that `step` multiplies a few rows with, `[out, in]`, as XLA reads them on a processor: copies
            by their place among the variables, which live as long as the weights do.

            `shape` is that of the token ids.
            """
            if model is None or not products.packs_right(math.prod(shape), products.FEW_OF_KERNELS):
                return {}
            variables = _variables(model)

            def asked():
                found = set()
                with keras.StatelessScope(), products.turned_kernels(lambda kernel: found.add(id(kernel))):
                    # A function of its own: JAX keeps what it traced, weights among it, as long as the function lives.
                    jax.eval_shape(lambda *arguments: step(*arguments), jax.ShapeDtypeStruct(shape, "int32"), cache)
                return [place for place, variable in enumerate(variables) if id(variable) in found]

            copies = _kept(model, (), "turned", dict)  # by the weights' identity: a weight takes its copy with it

            def copy(value):
                key = id(value)
                if key not in copies:
                    copies[key] = value.T, weakref.ref(value, lambda _: copies.pop(key, None))
                return copies[key][0]

            places = _kept(model, variables, (step, "asked"), asked)
            return {place: copy(variables[place].value) for place in places}

        def _call(model, compiled, inputs):
            return compiled(inputs)

        def _loop(condition, body, carried):
            return jax.lax.while_loop(lambda carried: condition(*carried), lambda carried: body(*carried), carried)

    else:
        import tensorflow as tf

        def _compiled(model, key, function, donated=(), turned=None, options=None):
            """`function(*arguments)` compiled by XLA."""

            def counted(*arguments):
                compilations[key[-1]] += 1
                return function(*arguments)

            make = functools.partial(tf.function, counted, jit_compile=True, autograph=False)
            return _kept(model, _variables(model), key, make)

        def _turned(model, step, shape, cache):
            return None

        def _call(model, compiled, inputs):
            """`compiled(inputs)`, without what a `tf.function` asks of its arguments in each call."""
            tensors = {name: tf.constant(array) for name, array in inputs.items()}
            shapes = tuple((name, tensor.shape, tensor.dtype) for name, tensor in tensors.items())
            concrete = _kept(model, (), (compiled, shapes), lambda: compiled.get_concrete_function(tensors))
            return concrete(tensors).numpy()

        _loop = tf.while_loop

    def without_gradients(function):
        return function

    def forward(model, function):
        """`function`, a method of the model, from a dictionary of numpy arrays to a float32 one: compiled once for each
        shape, and fast while the weights stay as they are."""
        options = None if isinstance(getattr(model, "head", None), VocabularyHead) else products.compiler_options()
        compiled = _compiled(
            model, (function, "forward"), lambda inputs: keras.ops.cast(function(inputs), "float32"), options=options
        )
        return lambda inputs: np.asarray(_call(model, compiled, inputs))

    PREFILLS_IN_STEP = False

    def prefill(model, step, token_ids, cache):
        """The cache after the prompt, int32 `[B, T]`; the logits are not needed yet."""
        return _compiled(model, (step, "prefill"), lambda *arguments: step(*arguments)[1])(token_ids, cache)

    def run_segment(model, step, strategy, state, cache, limit, noise, max_steps):
        """Up to `max_steps` steps (a Python int), fewer if `limit` is reached or all sentences are done. Returns the
        state and the cache."""

        def segment(state, written, read, limit, noise, max_steps):
            return _while(_loop, step, strategy, state, written, read, limit, noise, max_steps)

        turned = _turned(model, step, state.token_ids.shape, cache)
        run = _compiled(model, (step, strategy, "segment"), segment, donated=(0, 1), turned=turned)
        written, read = caches.split(cache)
        state, written = run(state, written, read, arrays.scalar(limit), noise, arrays.scalar(max_steps))
        return state, caches.joined(written, read)

    def run_ahead(model, score, strategy, state, cache, guesses, limit, noise):
        """A step for each guess, a list of ids, that turns out right, and one more, from one pass of `score`:
        `(token_ids [1, T], cache) -> (logits [1, T, V], cache)`. Returns the state and the cache."""

        def ahead(state, written, read, guesses, limit, noise):
            before = caches.joined(written, read)
            logits, after = score(arrays.join(state.token_ids, guesses), before)
            begun, right = state.position, keras.ops.convert_to_tensor(True)
            for place in range(logits.shape[1]):
                next_state, _ = strategy.advance(state, logits[:, place], limit, noise)
                state = type(state)(*(keras.ops.where(right, *pair) for pair in zip(next_state, state, strict=True)))
                if place < guesses.shape[1]:
                    over = keras.ops.any(strategy.done(state)) | (state.position >= limit)
                    right = right & (state.token_ids[0, 0] == guesses[0, place]) & ~over
            after = caches.trim(after, before.offset + state.position - begun)
            return state, caches.split(after)[0]

        guesses = arrays.tensor(np.array([guesses], "int32"))
        turned = _turned(model, score, (1, 1 + guesses.shape[1]), cache)
        run = _compiled(model, (score, strategy, "ahead"), ahead, donated=(0, 1), turned=turned)
        written, read = caches.split(cache)
        state, written = run(state, written, read, guesses, arrays.scalar(limit), noise)
        return state, caches.joined(written, read)
