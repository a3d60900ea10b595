"""An embedder of texts as a graph: a function for each prompt.

Legend: `N` texts, `D` width of the vectors.
"""

import functools
import typing
from collections.abc import Callable

import tensorflow as tf

from keras_transformers.tasks.in_graph.reading import TEXTS, Outputs, Reading, traced
from keras_transformers.tasks.prompts import find_prompt, prompt_length

_TAKEN = ("serving_default", "serve", "tokenizer", "weights", "parts", "signatures")


class Vectors(Outputs):
    """Texts to vectors, as `TextEmbedder.embed`.

    Raises:
        ValueError: for prompts that spell special tokens, and for a prompt by the name of something else.
    """

    def __init__(self, task: typing.Any, reading: Reading) -> None:
        self.task, self.reading, self.parts = task, reading, []
        self._prompts = {"serving_default": find_prompt(task.prompts, task.default_prompt_name), **task.prompts}
        if taken := [name for name in task.prompts if name in _TAKEN]:
            raise ValueError(f"Expected prompts by other names than {', '.join(_TAKEN)}, got {taken}. Rename them.")
        tokenizer = task._tokenizer()
        for prompt in self._prompts.values():
            if tokenizer.encode([prompt]) != tokenizer.encode([prompt], parse_special=True):
                raise ValueError(
                    f"Expected prompts without special tokens, got {prompt!r}: a graph reads such tokens as text."
                )
        self._functions = {
            name: traced(functools.partial(self._of_prompt, prompt), TEXTS) for name, prompt in self._prompts.items()
        }

    def functions(self) -> dict[str, Callable[..., typing.Any]]:
        return self._functions

    def _of_prompt(self, prompt: str, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        task = self.task
        texts = tf.strings.join([tf.constant(prompt), texts]) if prompt else texts
        inputs = self.reading.inputs(texts)
        if prompt and not task.include_prompt:
            length = prompt_length(task._tokenizer(), task._template(), prompt)
            places = tf.range(tf.shape(inputs["token_ids"])[1])[None, :] + tf.zeros_like(inputs["token_ids"])
            inputs["pooling_mask"] = tf.cast((places >= length) & task.padding_mask(inputs), tf.int32)
        outputs = tf.cast(task(inputs, training=False), tf.float32)
        return {"vectors": outputs[:, : task.truncate_dim], "outputs": outputs}

    # Each text of a check is embedded with each prompt.

    def expected(self, texts: list[str]) -> list[typing.Any]:
        found = []
        for prompt in self._prompts.values():
            inputs = self.task._prompted(texts, prompt, self.reading.length)
            found.append([each[: self.task.truncate_dim] for each in self.outputs(inputs)])
        return [list(each) for each in zip(*found, strict=True)]

    def got(self, texts: list[str]) -> list[typing.Any]:
        found = [function(tf.constant(texts))["vectors"].numpy().tolist() for function in self._functions.values()]
        return [list(each) for each in zip(*found, strict=True)]
