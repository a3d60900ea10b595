"""A masked language model as a graph: the likeliest tokens for the masks in texts.

    "The [MASK] is red."  ─►  "The " | [MASK] | " is red."  ─►  ids of each part  ─►  one row

Legend: `N` texts, `M` masks of all of them in a row, `V` vocabulary.
"""

import re
import typing

import tensorflow as tf

from keras_transformers.tasks.in_graph.reading import Outputs, Reading, clean

_BREAK = b"\xff"  # no text in UTF-8 holds it
_SPACES = r"[\t\n\v\f\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]*"


class FilledMasks(Outputs):
    """Texts with masks to the likeliest tokens, as `MaskedLM.fill_mask`.

    Raises:
        ValueError: for a `top` below 1.
    """

    def __init__(self, task: typing.Any, reading: Reading, top: int = 5) -> None:
        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise ValueError(f"Expected top of at least 1, got {top!r}.")
        tokenizer = task._tokenizer()
        self._top, self._mask_id = top, task._mask_id()
        special = {i: token for i, token in tokenizer.engine.get_added_tokens_decoder().items() if token.special}
        spelled = sorted(special.values(), key=lambda token: -len(token.content))
        self._pattern = f"({'|'.join(map(_pattern, spelled))})"
        self._special = tf.constant([token.content for token in special.values()])
        self._special_ids = tf.constant([*special], tf.int32)
        known = min(tokenizer.vocabulary_size, task.config.embeddings.vocabulary_size)
        names = [tokenizer.tokens([i])[0].strip() for i in range(known)]
        self._names = tf.constant(names + [""] * (task.config.embeddings.vocabulary_size - known))
        super().__init__(task, reading)

    def _serve(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        reading, task = self.reading, self.task
        inputs = reading.tokens.pack(
            self._ids(clean(texts)),
            max_length=reading.length,
            template=task._template(),
            padding_id=task.config.filler,
        )
        masks = (inputs["token_ids"] == self._mask_id) & inputs["padding_mask"]
        there = tf.where(masks)
        x, _ = task.hidden_states(reading.chosen(inputs), training=False)
        logits = task.head(tf.gather_nd(x, there)[None], embedding=task.backbone.embedding)[0]
        scores, token_ids = tf.math.top_k(tf.nn.softmax(tf.cast(logits, tf.float64)), min(self._top, logits.shape[-1]))
        return {
            "row": tf.cast(there[:, 0], tf.int32),
            "tokens": tf.gather(self._names, token_ids),
            "scores": tf.cast(scores, tf.float32),
            "token_ids": token_ids,
        }

    def _ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The ids of texts whose special tokens are special tokens."""
        parts = tf.strings.split(tf.strings.regex_replace(texts, self._pattern, _BREAK + rb"\1" + _BREAK), _BREAK)
        plain = tf.strings.regex_replace(parts.flat_values, f"^{_SPACES}|{_SPACES}$", "")
        same = plain[:, None] == self._special
        is_special = tf.reduce_any(same, axis=1)
        ids = self.reading.tokens(tf.where(is_special, "", parts.flat_values))
        known = tf.gather(self._special_ids, tf.argmax(same, axis=1))
        special = tf.RaggedTensor.from_row_lengths(known[is_special], tf.cast(is_special, tf.int64), validate=False)
        return parts.with_flat_values(tf.concat([special, ids], axis=1)).merge_dims(1, 2)

    # A text without a mask has no answer, so that each text of a check gets one.

    def _masked(self, texts: list[str]) -> list[str]:
        mask = self.task._tokenizer().mask_token
        return [text if mask in text else f"{mask} {text}" for text in texts]

    def answers(self, text: str) -> bool:
        """Whether the text is whole: the task cuts at the limit of the model alone."""
        return self.reading.whole(*self._masked([text]))

    def expected(self, texts: list[str]) -> list[typing.Any]:
        found = self.task.fill_mask(self._masked(texts), top=self._top)
        masks = [each if isinstance(each[0], list) else [each] for each in found]
        return [[[{name: one[name] for name in ("token", "score")} for one in best] for best in each] for each in masks]

    def got(self, texts: list[str]) -> list[typing.Any]:
        found = self.serve(tf.constant(self._masked(texts)))
        answers: list[typing.Any] = [[] for _ in texts]
        for row, tokens, scores in zip(*(found[name].numpy() for name in ("row", "tokens", "scores")), strict=True):
            answers[row].append([{"token": t.decode(), "score": float(s)} for t, s in zip(tokens, scores, strict=True)])
        return answers


def _pattern(token: typing.Any) -> str:
    """A special token as RE2 finds it, with the white space that it takes away."""
    before, after = _SPACES if token.lstrip else "", _SPACES if token.rstrip else ""
    return f"{before}{re.escape(token.content)}{after}"
