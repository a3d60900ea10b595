"""`keras-transformers train`: pairs of sentences → a preset folder."""

import sys
from typing import Annotated

import typer

from keras_transformers.apps.cli.options import (
    BatchTokens,
    Checkpoints,
    Curve,
    Dropout,
    HeldOut,
    HiddenDim,
    NumHeads,
    Pairs,
    PresetFolder,
    Seed,
    Sources,
    Targets,
)

# While training, a translation that has not ended after so many tokens is cut: at first few end by themselves.
LONGEST_SCORED = 128
# Steps between two points of a curve.
DRAWN_EVERY = 20


def train(
    output: PresetFolder,
    source: Sources = None,
    target: Targets = None,
    pairs: Pairs = None,
    validation_source: HeldOut = None,
    validation_target: HeldOut = None,
    validation_pairs: HeldOut = None,
    vocabulary_size: Annotated[int, typer.Option(min=8, help="Tokens, of both languages together.")] = 8000,
    separate_vocabularies: Annotated[
        bool, typer.Option("--separate-vocabularies", help="A vocabulary of that size for each language.")
    ] = False,
    num_layers: Annotated[int, typer.Option(min=1, help="Layers of the encoder, and of the decoder.")] = 6,
    hidden_dim: HiddenDim = 512,
    num_heads: NumHeads = 8,
    intermediate_dim: Annotated[int, typer.Option(min=1, help="The inner width of the feed-forward layers.")] = 2048,
    dropout: Dropout = 0.1,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pairs.")] = 10,
    batch_tokens: BatchTokens = 4096,
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="The highest; by default (hidden_dim × warmup_steps)^-½.")
    ] = None,
    warmup_steps: Annotated[int, typer.Option(min=1, help="Steps until then; fewer for little data.")] = 4000,
    seed: Seed = 0,
    checkpoints: Checkpoints = None,
    picture: Curve = None,
    bleu: Annotated[
        bool, typer.Option("--bleu", help="Translate and score what is held out, after each epoch.")
    ] = False,
):
    """Train the original Transformer (Vaswani et al. 2017) on sentence pairs and save it as a preset."""
    from keras_transformers.extras import require
    from keras_transformers.files.lines import read_pairs
    from keras_transformers.formats.preset import check_replaceable

    # What can fail, fails before hours of training.
    check_replaceable(output)
    require(matplotlib=picture, sacrebleu=bleu)
    sources, targets = read_pairs(source, target, pairs)
    validation = None
    if validation_source or validation_target or validation_pairs:
        validation = read_pairs(validation_source, validation_target, validation_pairs, prefix="--validation-")
    if bleu and validation is None:
        raise ValueError("Expected held-out sentences for --bleu, got none. Give --validation-pairs.")

    import keras

    import keras_transformers as kt
    from keras_transformers.apps.runs.translation import config_for, learn_vocabulary
    from keras_transformers.training import Checkpoint, InverseSquareRoot, LearningCurve, TranslationQuality

    keras.utils.set_random_seed(seed)

    shared = not separate_vocabularies
    options = {"kind": "bpe", "vocabulary_size": vocabulary_size, "normalization": "nmt_nfc"}
    tokenizer = learn_vocabulary(sources, targets, shared=shared, **options)
    config = config_for(
        tokenizer,
        num_layers=num_layers,
        hidden_dim=hidden_dim,
        num_heads=num_heads,
        intermediate_dim=intermediate_dim,
        dropout=dropout,
    )
    task = kt.Seq2SeqLM(config, tokenizer=tokenizer)
    peak = (hidden_dim * warmup_steps) ** -0.5 if learning_rate is None else learning_rate
    task.compile(keras.optimizers.Adam(InverseSquareRoot(peak, warmup_steps), beta_2=0.98, epsilon=1e-9))
    held_out = f", {len(validation[0])} held out" if validation else ""
    sizes = [tokenizer.vocabulary_size] if shared else [tokenizer.vocabulary_size, tokenizer.target_vocabulary_size]
    print(
        f"{len(sources)} pairs{held_out}; {' and '.join(map(str, sizes))} tokens; {task.count_params():,} parameters",
        file=sys.stderr,
    )
    # Each of these reads what the one before it has left in the logs.
    callbacks = []
    if bleu and validation is not None:
        callbacks.append(TranslationQuality(*validation, num_beams=1, max_new_tokens=LONGEST_SCORED))
    if checkpoints is not None:
        callbacks.append(Checkpoint(checkpoints))
    if picture is not None:
        callbacks.append(LearningCurve(picture, every_steps=DRAWN_EVERY))
    task.fit(
        sources,
        targets,
        validation_data=validation,
        batch_tokens=batch_tokens,
        epochs=epochs,
        seed=seed,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    task.save_to_preset(output)
    print(f"Saved {output}. Try: keras-transformers translate --preset {output} '…'", file=sys.stderr)
