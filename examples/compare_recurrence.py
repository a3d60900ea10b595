"""Train a Transformer and an LSTM of the same size on the same batches, and compare them.

    python examples/compare_recurrence.py --data fra-eng.zip --test tatoeba-en-fr --updates 1500
    python examples/compare_recurrence.py --updates 40 --hidden-dim 32      # without data: a small set of its own

The recurrent model is the one that the Transformer replaced: an encoder of LSTMs, the first one bidirectional, a
decoder of LSTMs, and the global attention of Luong et al. 2015 between them, from plain Keras layers. Both models share
the tokenizer, the width of the embeddings, which the head uses too, the loss, the optimizer, the batches and the number
of parameters, to about one percent.

Speed is measured in pairs: the two models take turns, update by update, in one process, so that whatever else the
machine does slows both. What is measured goes into `results.jsonl` in `--work`, line by line, with pictures beside it.
The same command goes on where it stopped; `--lengths 8 16 32` measures the cost by length instead of training.
"""

import argparse
import json
import os
import pathlib
import random
import time
import typing

import keras
import numpy as np
from keras import ops
from train_translation import own_pairs, read_pairs, read_test, without

import keras_transformers as kt
from keras_transformers.data import encode_pairs
from keras_transformers.data.batches import Batches
from keras_transformers.generation import GenerationConfig, executors, generate
from keras_transformers.layers import Cache
from keras_transformers.layers import cache as caches
from keras_transformers.tokenizers.packing import pack
from keras_transformers.training import (
    InverseSquareRoot,
    Perplexity,
    TokenMean,
    bleu,
    token_cross_entropy,
)

NAMES = ("Transformer", "LSTM")


class TransformerTranslator(kt.Seq2SeqLM):
    """Ours, with its two parts of decoding in the open: `read` a source, and `step` on by one token."""

    def read(self, token_ids, cache):
        mask = self.backbone.padding_mask(token_ids)
        encoded = self.backbone.encode(token_ids, mask)
        return None, self.backbone.start_cache(token_ids.shape[0], 32, encoded, mask)

    def step(self, token_ids, cache):
        x, cache = self.backbone.decode(token_ids, cache)
        return self.head(x[:, -1:], embedding=self.backbone.decoder_embedding)[:, 0], cache


class LSTMState(typing.NamedTuple):
    """What an LSTM carries from token to token, `[R, units]` each, however many there were: see `layers/state.py`."""

    hidden: typing.Any
    cell: typing.Any

    room = None
    reach = 0

    def reorder(self, rows):
        return LSTMState(rows.take(self.hidden), rows.take(self.cell))

    def trim(self, written, length):
        return self

    def grow(self, length):
        return self


class RecurrentTranslator(keras.Model):
    """LSTM encoder and decoder with attention: Bahdanau et al. 2015's idea in the simpler form of Luong et al. 2015.

        source ─ embedding ─ LSTM ⇄ ─ LSTM → ─────────────── memory [B, S, units]
                                        │ last states            │
        target ─ embedding ──────────── LSTM → ─ LSTM → ─ attention ─ tanh(W [context; state]) ─ embeddings transposed

    Attention comes after the decoder's LSTMs (no input feeding), so that in training only the LSTMs go step by step.

    Args:
        vocabulary_size: of both languages.
        embedding_dim: width of the embeddings.
        units: width of each LSTM, even; the bidirectional one has half of it each way.
        dropout: share dropped of what goes from layer to layer (Zaremba et al. 2014).

    Call arguments: as for `Seq2SeqLM`: `token_ids [B, S]` and `decoder_token_ids [B, T]`, padded with 0.

    Returns: logits `[B, T, V]`.
    """

    def __init__(self, vocabulary_size, embedding_dim, units, dropout=0.1, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size, self.units = vocabulary_size, units

        def lstm(width, name=None):
            return keras.layers.LSTM(width, return_sequences=True, return_state=True, name=name)

        # As the Transformer's: vectors of length 1, multiplied by √D on the way in, and as they are in the head.
        initializer = keras.initializers.RandomNormal(stddev=embedding_dim**-0.5)
        self.embedding = keras.layers.Embedding(vocabulary_size, embedding_dim, initializer)
        self.scale = embedding_dim**0.5
        self.both_ways = keras.layers.Bidirectional(lstm(units // 2))
        self.encoder = lstm(units, "encoder")
        self.decoder = [lstm(units, f"decoder_{number}") for number in range(2)]
        self.query = keras.layers.Dense(units, use_bias=False)  # "general" scores: state · W · memory
        self.attention = keras.layers.Attention()
        self.combine = keras.layers.Dense(embedding_dim, activation="tanh", use_bias=False)
        self.dropout = keras.layers.Dropout(dropout)
        self.token_loss, self.perplexity = TokenMean("loss"), Perplexity()

    def call(self, inputs, training=None):
        memory, mask, states = self.encode(inputs["token_ids"], training)
        x = self.dropout(self.scale * self.embedding(inputs["decoder_token_ids"]), training=training)
        for lstm, state in zip(self.decoder, states, strict=True):
            x, *_ = lstm(x, initial_state=state)
            x = self.dropout(x, training=training)
        return self.score(x, memory, mask)

    def encode(self, token_ids, training=None):
        """The memory `[B, S, units]`, its padding mask, and what each LSTM of the decoder starts from."""
        mask = ops.not_equal(token_ids, 0)
        x = self.dropout(self.scale * self.embedding(token_ids), training=training)
        x, forward, forward_cell, backward, backward_cell = self.both_ways(x, mask=mask)
        first = [ops.concatenate(pair, axis=-1) for pair in ((forward, backward), (forward_cell, backward_cell))]
        memory, *second = self.encoder(self.dropout(x, training=training), mask=mask)
        return memory, mask, (first, second)

    def score(self, x, memory, mask):
        """Logits of the decoder's states `[B, T, units]`."""
        context = self.attention([self.query(x), memory], mask=[None, mask])
        return ops.matmul(
            self.combine(ops.concatenate([context, x], axis=-1)), ops.transpose(self.embedding.embeddings)
        )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """As `Seq2SeqLM`'s."""
        loss, negative_log_likelihood = token_cross_entropy(y_pred, y, 0.1)
        sample_weight = ops.convert_to_tensor(sample_weight)
        self.token_loss.update_state(loss, sample_weight)
        self.perplexity.update_likelihood(negative_log_likelihood, sample_weight)
        return ops.sum(loss * sample_weight) / ops.maximum(ops.sum(sample_weight), 1.0)

    # The decoding loop carries each LSTM's state as it does the keys and values of an attention.

    def read(self, token_ids, cache):
        memory, mask, states = self.encode(token_ids)
        states = tuple(LSTMState(*state) for state in states)
        return None, Cache(caches.start(), states, ((memory, memory),), mask)

    def step(self, token_ids, cache):
        x = self.scale * self.embedding(token_ids[:, 0])
        states = []
        for lstm, state in zip(self.decoder, cache.states, strict=True):
            x, new = lstm.cell(x, list(state))
            states.append(LSTMState(*new))
        logits = self.score(x[:, None], cache.cross_attention[0][0], cache.source_padding_mask)
        return logits[:, 0], cache._replace(offset=cache.offset + 1, states=tuple(states))


def matching(transformer, vocabulary_size, embedding_dim, dropout):
    """The recurrent model whose parameters come nearest to the Transformer's."""

    def parameters(units):
        def lstm(inputs, width):
            return 4 * width * (inputs + width + 1)

        layers = 2 * lstm(embedding_dim, units // 2) + lstm(embedding_dim, units) + 2 * lstm(units, units)
        return vocabulary_size * embedding_dim + layers + units * units + 2 * units * embedding_dim

    wanted = transformer.count_params()
    units = min(range(2, 4097, 2), key=lambda units: abs(parameters(units) - wanted))
    model = RecurrentTranslator(vocabulary_size, embedding_dim, units, dropout)
    model({"token_ids": np.ones((1, 2), "int32"), "decoder_token_ids": np.ones((1, 2), "int32")})  # makes the weights
    return model


def translate(model, tokenizer, texts, num_tokens, batch_size=64):
    """Greedy translations, and the seconds they took. The loop is the same for both models: only `read` and `step`
    differ."""
    config = GenerationConfig(max_new_tokens=num_tokens, start_id=tokenizer.start_id, end_ids=(tokenizer.end_id,))
    begin = time.perf_counter()
    sources = [[*ids, tokenizer.end_id] for ids in tokenizer.encode(texts)]
    order = np.argsort([len(ids) for ids in sources], kind="stable")
    results = [""] * len(texts)
    for start in range(0, len(texts), batch_size):
        rows = order[start : start + batch_size]
        padded = [sources[row] for row in rows] + [sources[rows[0]]] * (batch_size - len(rows))
        length = -(-max(map(len, padded)) // 8) * 8
        token_ids = pack(padded, padding_id=tokenizer.padding_id, length=length).token_ids
        cache = executors.prefill(model, model.read, ops.convert_to_tensor(token_ids), None)
        prompts = np.full((batch_size, 1), tokenizer.start_id, "int32")
        generated = generate(model, model.step, cache, prompts, config)
        for row, text in zip(rows, tokenizer.decode(generated.token_ids[: len(rows)]), strict=True):
            results[row] = text
    return results, time.perf_counter() - begin


def variables(models):
    return {
        f"{name}/{number}": variable
        for name, model in models.items()
        for number, variable in enumerate(model.variables + model.optimizer.variables)
    }


def save(path, models, update):
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, update=update, **{name: ops.convert_to_numpy(each) for name, each in variables(models).items()})
    os.replace(partial, path)


def restore(path, models):
    """The update to go on from."""
    if not path.exists():
        return 0
    arrays = np.load(path)
    for name, variable in variables(models).items():
        variable.assign(arrays[name])
    return int(arrays["update"])


def peak_memory(model, batch):
    """Bytes that XLA sets aside for one update besides weights and batch; None on the other backends."""
    if keras.backend.backend() != "jax":
        return None
    import jax

    groups = (model.trainable_variables, model.non_trainable_variables, model.metrics_variables)
    trainable, *rest = [[variable.value for variable in group] for group in groups]
    optimizer = [variable.value for variable in model.optimizer.variables]

    def loss(*values):
        return model.compute_loss_and_updates(*values, *batch, training=True, optimizer_variables=optimizer)

    compiled = jax.jit(jax.grad(loss, has_aux=True)).lower(trainable, *rest).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def batch_of(length, tokens, vocabulary_size, start_id):
    """Random sentences, all of `length` tokens on both sides, `tokens` in all on a side."""
    token_ids = np.random.default_rng(length).integers(4, vocabulary_size, (max(tokens // length, 1), length), "int32")
    inputs = {"token_ids": token_ids, "decoder_token_ids": np.roll(token_ids, 1, axis=1)}
    inputs["decoder_token_ids"][:, 0] = start_id
    return inputs, token_ids, np.ones(token_ids.shape, "float32")


def measure_lengths(models, lengths, tokens, tokenizer, repeats=4):
    """For each length: the seconds and the memory of an update on `tokens` tokens, and the seconds that 8 sentences
    take to translate into as many tokens as they have, with an end that never comes. Seconds are the processor's, of
    all threads, which other jobs on the machine hardly change; the least of a few tries."""
    size = tokenizer.vocabulary_size
    for length in lengths:
        batch = batch_of(length, tokens, size, tokenizer.start_id)
        record = {"kind": "length", "length": length, "sentences": len(batch[1])}
        for name, model in models.items():
            model.train_on_batch(*batch)  # compiles
            record[name] = {"memory": peak_memory(model, batch), "update": [], "translation": []}
        sources = batch_of(length, 8 * length, size, tokenizer.start_id)[1]
        config = GenerationConfig(max_new_tokens=length, start_id=tokenizer.start_id)
        for repeat in range(repeats + 1):
            for name, model in models.items():
                begin = time.process_time()
                model.train_on_batch(*batch)
                middle = time.process_time()
                cache = executors.prefill(model, model.read, ops.convert_to_tensor(sources), None)
                generate(model, model.step, cache, np.full((8, 1), tokenizer.start_id, "int32"), config)
                if repeat:
                    record[name]["update"].append(middle - begin)
                    record[name]["translation"].append(time.process_time() - middle)
        for name in models:
            record[name] |= {key: min(record[name][key]) for key in ("update", "translation")}
        yield record


def draw(records, folder):
    """Loss and BLEU while training, `quality.png`; cost by length, `lengths.png`."""
    from matplotlib.figure import Figure

    colours = dict(zip(NAMES, ("C0", "C1"), strict=True))

    def picture(file, panels):
        figure = Figure(figsize=(4 * len(panels), 3.1), layout="constrained")
        for number, (title, xlabel, series, logarithmic) in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), number + 1)
            for name in NAMES:
                points = [(x, values[name]) for x, values in series if values[name] is not None]
                if points:
                    axes.plot(*zip(*points, strict=True), color=colours[name], marker=".", label=name)
            axes.set(title=title, xlabel=xlabel)
            if logarithmic:
                axes.set_xscale("log", base=2)
                axes.set_xticks([x for x, _ in series], [str(x) for x, _ in series])
                axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            axes.legend(frameon=False)
        figure.savefig(folder / file, dpi=90)

    training = [each for each in records if each["kind"] == "training"]
    validation = [each for each in records if each["kind"] == "validation"]
    if training and validation:
        loss = [(each["update"], {name: each[name]["loss"] for name in NAMES}) for each in training]
        scores = [(each["update"], {name: each[name]["bleu"] for name in NAMES}) for each in validation]
        panels = [("training loss", "updates", loss, False), ("BLEU, validation", "updates", scores, False)]
        picture("quality.png", panels)
    lengths = {each["length"]: each for each in records if each["kind"] == "length"}
    if lengths:

        def series(key, scale):
            return [
                (length, {name: each[name][key] and each[name][key] * scale(length) for name in NAMES})
                for length, each in sorted(lengths.items())
            ]

        panels = [
            ("CPU seconds an update", "tokens in a sentence", series("update", lambda length: 1), True),
            ("MB an update", "tokens in a sentence", series("memory", lambda length: 1e-6), True),
            ("CPU ms a token, translating", "tokens in a sentence", series("translation", lambda n: 1e3 / n), True),
        ]
        picture("lengths.png", panels)


def summary(records):
    """The tables of docs/guides/why-not-recurrence.md, in Markdown, from what was measured so far."""

    def row(*cells):
        return f"| {' | '.join(map(str, cells))} |"

    lines = []
    last = {each["kind"]: each for each in records}
    training = [each for each in records if each["kind"] == "training" and each["tokens"]]
    if training:
        ratios = [each["Transformer"]["seconds"] / each["LSTM"]["seconds"] for each in training]
        low, median, high = np.percentile(ratios, (10, 50, 90))
        lines += [
            f"An update takes the Transformer {median:.2f} times as long (8 in 10 stretches: {low:.2f}–{high:.2f})."
        ]
    validation = {each["update"]: each for each in records if each["kind"] == "validation"}
    if validation:
        lines += ["", row("updates", *validation), row(*["---"] * (len(validation) + 1))]
        lines += [row(f"{name}, BLEU", *(each[name]["bleu"] for each in validation.values())) for name in NAMES]
    if "test" in last:
        test = last["test"]
        lines += ["", row("test", "BLEU", "MB an update", "seconds to translate"), row(*["---"] * 4)]
        for name in NAMES:
            memory = test[name]["memory"] and round(test[name]["memory"] / 1e6)
            lines += [row(name, test[name]["bleu"], memory, f"{test[name]['seconds']:.2f}")]
        lines += ["", test["Transformer"]["signature"]]
    lengths = {each["length"]: each for each in records if each["kind"] == "length"}
    for key, title, scale in (
        ("update", "ms an update", lambda length: 1e3),
        ("memory", "MB an update", lambda length: 1e-6),
        ("translation", "ms a token of 8 sentences, translating", lambda length: 1e3 / length),
    ):
        if lengths and all(each["LSTM"][key] for each in lengths.values()):
            lines += ["", row(title, *lengths), row(*["---"] * (len(lengths) + 1))]
            for name in NAMES:
                numbers = (f"{each[name][key] * scale(length):.3g}" for length, each in lengths.items())
                lines += [row(name, *numbers)]
    return "\n".join(lines)


def finish(results):
    """Draw and print what `results` holds."""
    with open(results) as file:
        records = [json.loads(line) for line in file]
    draw(records, results.parent)
    print(summary(records))


def tested(models, tokenizer, test, batch, num_tokens):
    """BLEU, seconds and memory of each model on the test pairs."""
    texts, references = [pair[0] for pair in test], [pair[1] for pair in test]
    translations = {
        name: translate(model, tokenizer, texts, num_tokens)[0] for name, model in models.items()
    }  # compiles
    seconds = {name: [] for name in NAMES}
    for turn in range(4):
        for name in NAMES if turn % 2 else NAMES[::-1]:
            seconds[name].append(translate(models[name], tokenizer, texts, num_tokens)[1])
    record = {}
    for name, model in models.items():
        score = bleu(translations[name], references)
        record[name] = {"bleu": round(score.score, 2), "signature": score.signature, "seconds": min(seconds[name])}
        record[name]["memory"] = peak_memory(model, batch)
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, help="as in train_translation.py, and so is --test")
    parser.add_argument("--test", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path(".cache/compare_recurrence"))
    parser.add_argument("--pairs", type=int, default=60_000, help="the most pairs to train on")
    parser.add_argument("--test-pairs", type=int, default=1000, help="the most pairs to score at the end")
    parser.add_argument("--num-tokens", type=int, default=64, help="the longest translation")
    parser.add_argument("--vocabulary-size", type=int, default=4000)
    parser.add_argument("--num-layers", type=int, default=3, help="of the Transformer's encoder and decoder each")
    parser.add_argument("--hidden-dim", type=int, default=128)
    parser.add_argument("--num-heads", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--num-buckets", type=int, default=4, help="shapes of batches; each is compiled once")
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--warmup-steps", type=int, default=400)
    parser.add_argument("--peak-learning-rates", type=float, nargs=2, default=(3e-3, 3e-3), metavar=NAMES)
    parser.add_argument("--report-every", type=int, default=50)
    parser.add_argument("--validate-every", type=int, default=300)
    parser.add_argument("--lengths", type=int, nargs="*", default=(), help="measure cost by length instead of training")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    results = options.work / "results.jsonl"

    def report(record):
        print(json.dumps(record))
        with open(results, "a") as file:
            file.write(json.dumps(record) + "\n")

    keras.utils.set_random_seed(options.seed)
    pairs = read_pairs(options.data) if options.data else list(own_pairs())
    test = read_test(options.test) if options.test else None
    if test is not None:
        pairs = without(pairs, *test)
    random.Random(options.seed).shuffle(pairs)
    held_out = min(500, len(pairs) // 10)
    validation, training = pairs[:held_out], pairs[held_out : held_out + options.pairs]
    sources, targets = (list(side) for side in zip(*training, strict=True))
    test = list(zip(*test, strict=True)) if test else validation
    test = random.Random(options.seed).sample(test, min(options.test_pairs, len(test)))

    tokenizer = kt.Tokenizer.train([*sources, *targets], vocabulary_size=options.vocabulary_size)
    config = kt.models.transformer(
        tokenizer.vocabulary_size,
        num_layers=options.num_layers,
        hidden_dim=options.hidden_dim,
        num_heads=options.num_heads,
        dropout=options.dropout,
        padding_id=tokenizer.padding_id,
    )
    transformer = TransformerTranslator(config, tokenizer=tokenizer)
    recurrent = matching(transformer, tokenizer.vocabulary_size, options.hidden_dim, options.dropout)
    models = dict(zip(NAMES, (transformer, recurrent), strict=True))
    for model, rate in zip(models.values(), options.peak_learning_rates, strict=True):
        schedule = InverseSquareRoot(rate, options.warmup_steps)
        model.compile(keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9, global_clipnorm=1.0))
        model.optimizer.build(model.trainable_variables)
    batches = Batches(
        encode_pairs(sources, targets, tokenizer=tokenizer, max_length=64),
        batch_tokens=options.batch_tokens,
        num_buckets=options.num_buckets,
        seed=options.seed,
    )
    report(
        {
            "kind": "start",
            "backend": keras.backend.backend(),
            "pairs": len(sources),
            "test": len(test),
            "vocabulary": tokenizer.vocabulary_size,
            "parameters": {name: model.count_params() for name, model in models.items()},
            "units": recurrent.units,
            "batches": len(batches),
            "updates": options.updates,
            "peak_learning_rates": options.peak_learning_rates,
        }
    )
    if options.lengths:
        for record in measure_lengths(models, options.lengths, options.batch_tokens, tokenizer):
            report(record)
        finish(results)
        return

    seconds, tokens, seen = dict.fromkeys(NAMES, 0.0), 0, set()
    first = restore(options.work / "state.npz", models)
    for update in range(first + 1, options.updates + 1):
        x, y, sample_weight = batches.batch(*divmod(update - 1, len(batches)))
        shape = (x["token_ids"].shape, y.shape)
        losses = {}
        for name in NAMES if update % 2 else NAMES[::-1]:
            model = models[name]
            begin = time.perf_counter()
            losses[name] = model.train_on_batch(x, y, sample_weight, return_dict=True)
            if shape in seen:  # the first of each shape compiles
                seconds[name] += time.perf_counter() - begin
        tokens += int(sample_weight.sum()) if shape in seen else 0
        seen.add(shape)
        if update % options.report_every == 0 or update == options.updates:
            record = {"kind": "training", "update": update, "tokens": tokens}
            for name, model in models.items():
                record[name] = {"seconds": round(seconds[name], 3), "loss": round(float(losses[name]["loss"]), 4)}
                model.reset_metrics()
            report(record)
            seconds, tokens = dict.fromkeys(NAMES, 0.0), 0
        if update % options.validate_every == 0 or update == options.updates:
            record = {"kind": "validation", "update": update}
            for name, model in models.items():
                translations, _ = translate(model, tokenizer, [pair[0] for pair in validation], options.num_tokens)
                record[name] = {"bleu": round(bleu(translations, [pair[1] for pair in validation]).score, 2)}
            report(record)
            save(options.work / "state.npz", models, update)

    record = {"kind": "test", "update": max(first, options.updates), "sentences": len(test)}
    report(record | tested(models, tokenizer, test, batches.batch(0, 0), options.num_tokens))
    finish(results)


if __name__ == "__main__":
    main()
