"""Causal language models: a decoder reads a text and writes its continuation.

Legend: `B` batch, `T` length, `V` vocabulary.
"""

import typing
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np

from keras_transformers.data.documents import around
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.generation.decoding import (
    Decoding,
    Generated,
    Numbers,
    alike,
    check_streaming,
    generate,
    limits,
)
from keras_transformers.generation.forced_words import ForcedWords
from keras_transformers.generation.reader import Reader
from keras_transformers.generation.settings import GenerationConfig, names_a_limit
from keras_transformers.generation.speculative import Draft, accepting
from keras_transformers.layers.cache import Cache
from keras_transformers.models.config import ModelConfig
from keras_transformers.tasks import notices
from keras_transformers.tasks.answers import Answers, Progress, Prompt
from keras_transformers.tasks.chat import Chat
from keras_transformers.tasks.compiling import without_decay
from keras_transformers.tasks.document_task import DocumentTask
from keras_transformers.tasks.given_texts import GivenTexts
from keras_transformers.tasks.stacks import wrong_stacks
from keras_transformers.tasks.starts import Rows, filled, start_prompts
from keras_transformers.training.schedules import LinearDecay

PROMPTS = (("prompt",), ("text",), ("question",))


@keras.saving.register_keras_serializable("keras_transformers")
class CausalLM(GivenTexts, DocumentTask):
    """A decoder with a head over its vocabulary: a causal language model such as GPT.

    Args:
        config: a `ModelConfig` with a decoder and no encoder.
        tokenizer: a `Tokenizer`; None if the model only sees token ids.
        generation: the default settings of `generate`, a `GenerationConfig`; by default greedy search up to the end
            token of the tokenizer.

    Call arguments: token ids, int32 `[B, T]`, or a dictionary of `token_ids` and optionally `starts` or `padding_mask`,
    as for `Backbone`.

    Returns: logits `[B, T, V]`; position `t` scores token `t + 1`.

    Raises:
        ValueError: if the configuration has an encoder or no decoder, or the tokenizer has another vocabulary.

    Source: Radford et al. 2018.
    """

    @classmethod
    def _check_stacks(cls, config: ModelConfig) -> None:
        if config.encoder is not None or config.decoder is None:
            raise wrong_stacks("a ModelConfig with a decoder and no encoder, such as kt.models.gpt makes", config)
        if config.decoder.bidirectional:
            raise wrong_stacks("a causal decoder", config)

    # Training

    def fit(
        self,
        x: typing.Any = None,
        y: typing.Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        *,
        packing: bool = True,
        **kwargs: typing.Any,
    ) -> keras.callbacks.History:
        """Train on raw text.

        Args:
            x: texts from any source: a list, array or series of strings, a `pathlib.Path` or a list of them (one text
                per file), a data frame, a dictionary of columns, a Hugging Face dataset, `tf.data`, a `PyDataset`,
                `DataLoader` or generator; or your own ids, `{"token_ids": …}`. The model learns every token of a text,
                and its end token. A text longer than `max_length` is split into windows without losing a token. With a
                chat template, `x` may be chats: a list of lists of messages, or a dataset with a column `messages`.
                The model then learns the messages of the assistant.
            y: answers, if `x` holds prompts; or pass pairs in one source. The model learns the answer and its end. With
                token ids: for each id the one that follows it, -100 for those not to learn.
            packing: whether several texts share a row. They do not see each other.
            max_length: by default as many tokens as the model reads, but at most 1,024. Longer chats, and longer
                prompts with answers, are cut, and a warning says how many.
            **kwargs: arguments of `Task.fit`: `epochs`, `batch_tokens`, `validation_split`, `callbacks`, …

        Returns: a `keras.callbacks.History`.

        Example:
            >>> model = kt.CausalLM(kt.models.gpt(tokenizer.vocabulary_size, num_layers=4, hidden_dim=256), tokenizer)
            >>> model.fit(pathlib.Path("plays.txt"), epochs=10)
            >>> model.fit(["Question: 2 + 2?\nAnswer:"], [" 4"])
        """
        return super().fit(x, y, batch_size, epochs, packing=packing, **kwargs)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer of `Task.default_optimizer` for fine-tuning a loaded model. A new model gets AdamW: β₂ 0.99,
        weight decay 0.1 except on norms and biases, gradients clipped to norm 1. Its learning rate rises over the first
        tenth of `fit` to 0.5 / hidden_dim, at most 0.002, and then falls to 0."""
        if self.pretrained:
            return super().default_optimizer()
        optimizer = keras.optimizers.AdamW(
            LinearDecay(min(0.5 / self.config.hidden_dim, 2e-3)), beta_2=0.99, weight_decay=0.1, global_clipnorm=1.0
        )
        return without_decay(optimizer, self.trainable_variables)

    # Generation

    @typing.overload
    def generate(
        self,
        prompts: str,
        *,
        return_scores: typing.Literal[False] = False,
        num_return_sequences: typing.Literal[1] = 1,
        **options: typing.Any,
    ) -> str: ...

    @typing.overload
    def generate(
        self,
        prompts: Texts,
        *,
        return_scores: typing.Literal[False] = False,
        num_return_sequences: typing.Literal[1] = 1,
        **options: typing.Any,
    ) -> list[str]: ...

    @typing.overload
    def generate(
        self,
        prompts: Texts,
        *,
        parse_special: bool = False,
        batch_size: int = 32,
        return_prompt: bool = False,
        return_scores: bool = False,
        draft: Draft | None = None,
        progress: Progress | None = None,
        **generation: typing.Any,
    ) -> typing.Any: ...

    def generate(
        self,
        prompts: Texts,
        *,
        parse_special: bool = False,
        batch_size: int = 32,
        return_prompt: bool = False,
        return_scores: bool = False,
        draft: Draft | None = None,
        progress: Progress | None = None,
        **generation: typing.Any,
    ) -> typing.Any:
        """Continue texts, by default with the generation settings of the preset.

        Args:
            prompts: a string, or a list, array, series or data frame of strings, or any other container of texts. The
                tokenizer adds its usual special tokens in front. An empty prompt begins with the start token.
            parse_special: whether the prompts are complete, as from `Tokenizer.apply_chat_template`: special tokens
                that they spell are read as those tokens, and none is added. Otherwise they are read as text, which is
                safe for untrusted input, and a warning says so.
            batch_size: prompts continued together; prompts of similar length are batched.
            return_prompt: whether to return the prompt in front of its continuation.
            return_scores: whether to return the score of each text too: sum of log-probabilities / length **
                length_penalty.
            draft: a `generation.PromptLookup` or `generation.DraftModel` for speculative decoding: it guesses tokens
                ahead and never changes a text (see `generation.speculative`). Prompts then run one by one.
            progress: a function called with the number of finished prompts, after each batch.
            **generation: fields of `GenerationConfig`: `max_new_tokens=64`, `do_sample=True`, `temperature=0.7`,
                `top_p=0.9`, `stop="\\n"`, `num_beams=4`, … If you set no limit, a warning names the texts that were cut
                at the default limit of the model.

        Returns: the continuations: a string for a string, a list for a list; with `num_return_sequences` > 1 a list of
            texts for each prompt; with `return_scores` a pair: the texts, and the scores in the same shape.

        Raises:
            TypeError, ValueError: for values that are not texts, a prompt longer than the model reads, and settings
                that contradict each other.

        Example:
            >>> lm = kt.CausalLM.from_preset("hf://openai-community/gpt2")
            >>> lm.generate("Once upon a time", max_new_tokens=20)
            >>> prompt = lm.tokenizer.apply_chat_template(messages, add_generation_prompt=True)
            >>> lm.generate(prompt, parse_special=True)
        """
        config = self.generation_config(**generation)
        self._check_effect(config, generation, return_scores)
        texts, single = texts_of(prompts, inputs=PROMPTS)
        asked = [Prompt(ids) for ids in self._encode(texts, parse_special)]
        answers = Answers(asked, config, self._wording(config))
        scored = config.scored() if return_scores else config
        for batch in answers.batches(batch_size, progress):
            token_ids = [asked[index].token_ids for index in batch]
            answers.add(batch, self.generate_ids(token_ids, scored, answers.rows(batch_size), batch, draft))
        if answers.cut and not names_a_limit(generation):
            self._report_cut(answers.cut, len(asked))
        if return_prompt:
            answers.put_before(texts)
        return answers.results(single, return_scores)

    def stream(
        self,
        prompt: str,
        *,
        parse_special: bool = False,
        draft: Draft | None = None,
        **generation: typing.Any,
    ) -> Iterator[str]:
        """Continue one text as a stream: an iterator of strings that together make the result of `generate`.

        Takes the arguments of `generate`, except beams (a beam search knows its first word last) and
        `num_return_sequences` above 1.

        Example:
            >>> for piece in lm.stream("Once upon a time", max_new_tokens=50):
            ...     print(piece, end="", flush=True)
        """
        config = self.generation_config(**{"num_beams": 1, "num_return_sequences": 1, **generation})
        self._check_effect(config, generation)
        (ids,) = self._encode([prompt], parse_special)
        return self.stream_ids(ids, config, draft=draft, limited=names_a_limit(generation))

    def _report_cut(self, cut: dict[int, int], total: int) -> None:
        notices.warn_of_cut(cut, total, None, self._longest("embeddings"), "texts")

    def chat(
        self,
        messages: Sequence[dict[str, typing.Any]] = (),
        *,
        system: str | None = None,
        tools: Sequence[typing.Any] | None = None,
        template_variables: dict[str, typing.Any] | None = None,
        **generation: typing.Any,
    ) -> Chat:
        """Begin a chat with a model trained for it. Returns a `Chat`.

        Args:
            messages: the earlier messages, a list of dictionaries `{"role": "user", "content": "…"}`.
            system: the system prompt; short for a first message with the role "system".
            tools: functions or JSON schemas that the model may call, as for `Tokenizer.apply_chat_template`. A reply
                that calls a tool is text: append the result to `messages`, then call `reply()`.
            template_variables: further variables of the template, such as `{"enable_thinking": False}`.
            **generation: fields of `GenerationConfig`, for every reply.

        Example:
            >>> chat = lm.chat(system="Answer in one sentence.", max_new_tokens=100)
            >>> chat.send("What is a transformer?")
            >>> lm.chat([{"role": "user", "content": "Hi"}]).reply()
        """
        before = [] if system is None else [{"role": "system", "content": system}]
        return Chat(self, [*before, *messages], tools, template_variables, **generation)

    def stream_ids(
        self,
        token_ids: list[int],
        config: GenerationConfig | None = None,
        reader: Reader | None = None,
        draft: Draft | None = None,
        limited: bool = True,
    ) -> Iterator[str]:
        """Continue a prompt given as token ids: an iterator of strings.

        Args:
            token_ids: a list of ids.
            config: a `GenerationConfig`; the model's own by default.
            reader: a reader from `reader()`; it does not recompute tokens that this prompt shares with its last one.
            draft: as for `generate`.
            limited: whether the caller set the token limit. Otherwise a warning says that it was reached.
        """
        config = self.generation_config() if config is None else self._checked(config)
        check_streaming(config)
        decoding, advance = self._decoding(reader or self.reader(), token_ids, config, draft)
        report = None if limited else self._report_cut
        return self._wording(config).pieces(token_ids, decoding.stream(advance=advance), report)

    def reader(self) -> Reader:
        """A `generation.Reader`, for prompts that each continue the last one."""
        size, longest = self.config.embeddings.vocabulary_size, self._longest("embeddings")
        return Reader(self, self._step, self.backbone.start_cache, longest=longest, vocabulary_size=size)

    def _decoding(
        self,
        reader: Reader,
        token_ids: list[int],
        config: GenerationConfig,
        draft: Draft | None,
        **options: typing.Any,
    ) -> tuple[Decoding, Callable[[], bool] | None]:
        """A `Decoding` of one prompt, and the function that advances it; None to advance it token by token."""
        if not token_ids:
            raise ValueError("Expected at least one token in each prompt, got an empty one. Begin with something.")
        if draft is not None and (config.num_beams > 1 or config.num_return_sequences > 1):
            raise ValueError(
                "Expected num_beams=1 and num_return_sequences=1 with a draft, got "
                f"num_beams={config.num_beams} and num_return_sequences={config.num_return_sequences}."
            )
        decoding = reader.read(token_ids, config, **options)
        if draft is None:
            return decoding, None
        return decoding, accepting(decoding, self._step_through, draft.guesser(self), draft.length, token_ids)

    def generate_ids(
        self,
        prompts: Rows,
        config: GenerationConfig | None = None,
        batch_size: int | None = None,
        numbers: Numbers | None = None,
        draft: Draft | None = None,
        words: ForcedWords | None = None,
    ) -> Generated:
        """Continue prompts given as token ids. Returns a `Generated`.

        Args:
            prompts: a list of lists of ids, none of them empty.
            config: a `GenerationConfig`; the model's own by default.
            batch_size: on backends that compile each shape, fill the batch up to at most this many rows. More prompts
                still form one batch.
            numbers: int `[B]`, the number of the random stream of each prompt in sampling; by default its index.
            draft: as for `generate`.
            words: for each prompt a list of words that its result must contain, each a list of ids: see
                `generation.forced_words`. Only for beam search, without a draft.
        """
        config = self.generation_config() if config is None else self._checked(config)
        if draft is not None and prompts:
            return self._generate_ahead(prompts, config, draft, numbers)
        rows, longest = len(prompts), self._longest("embeddings")
        if rows == 0:
            return generate(self, self._step, Cache(0, ()), np.zeros((0, 1), int), config)
        numbers = list(range(rows) if numbers is None else numbers)
        if config.num_beams > 1 or config.forced_end_id is not None:  # the texts of a batch need one limit
            groups = alike(limits(config, np.array(list(map(len, prompts))), longest))
            if len(groups) > 1:
                parts = []
                for group in groups:
                    some: list[typing.Any] = [each and [each[n] for n in group] for each in (prompts, numbers, words)]
                    parts.append(self.generate_ids(some[0], config, None, some[1], words=some[2]))
                return Generated.joined(parts, config.padding_id, groups)
        fill = filled(rows, batch_size or rows) - rows
        prompts, numbers = [*prompts, *[prompts[0]] * fill], [*numbers, *[numbers[0]] * fill]
        cache, token_ids = start_prompts(self, prompts, config)
        stop_rule = self._wording(config).stop_rule(prompts) if config.stop else None
        options: dict[str, typing.Any] = {"longest": longest, "stop_rule": stop_rule, "numbers": numbers}
        if words and any(words):
            options["words"] = [*words, *[words[0]] * fill]
        generated = generate(self, self._step, cache, token_ids, config, **options)
        generated = generated.select(slice(rows * config.num_return_sequences))
        return notices.without_failures(generated) if "words" in options else generated

    def _generate_ahead(
        self,
        prompts: Rows,
        config: GenerationConfig,
        draft: Draft,
        numbers: Numbers | None,
    ) -> Generated:
        """The result of `generate_ids` with speculative decoding, prompt by prompt."""
        reader, parts = self.reader(), []
        stop_rule = self._wording(config).stop_rule(prompts) if config.stop else None
        for place, prompt in enumerate(prompts):
            options: dict[str, typing.Any] = {"numbers": [place if numbers is None else numbers[place]]}
            if stop_rule is not None:
                options["stop_rule"] = lambda _, token_ids, place=place: stop_rule(place, token_ids)
            decoding, advance = self._decoding(reader, prompt, config, draft, **options)
            while advance is not None and advance():
                pass
            parts.append(decoding.generated())
        return Generated.joined(parts, config.padding_id)

    def attention_inputs(self, text: str, second: str | None = None) -> dict[str, typing.Any]:
        """The backbone's inputs for a text and perhaps its continuation, each `[T]`; see `attention_reading`."""
        (ids,) = self._encode([text])
        more = [] if second is None else self._tokenizer().encode([second])[0]
        return {"token_ids": np.array([*ids, *more], "int32"), "padding_mask": np.ones(len(ids) + len(more), bool)}

    def _encode(self, texts: list[str], parse_special: bool = False) -> list[list[int]]:
        """Encode texts as prompts: lists of ids, after the special tokens that the tokenizer adds in front."""
        before, encoded = self._encoded(texts, parse_special)
        start = () if self.generation.start_id is None else (self.generation.start_id,)
        prompts = [[*before, *ids] or [*start] for ids in encoded]
        empty = [index for index, ids in enumerate(prompts) if not ids]
        if empty:
            raise ValueError(
                f"Expected some text in each prompt, got an empty one at index {empty[0]}, and there is no start token "
                "to begin with. Give it a word."
            )
        return prompts

    def _encoded(self, texts: list[str], parse_special: bool) -> tuple[Sequence[int], list[list[int]]]:
        """The ids that precede each text, and the ids of the texts."""
        tokenizer = self._tokenizer()
        encoded = tokenizer.encode(texts, parse_special)
        if parse_special:
            return (), encoded
        if spelled := tokenizer.spelled_special(texts):
            notices.warn_of_spelled(spelled)
        return around(tokenizer)[0], encoded
