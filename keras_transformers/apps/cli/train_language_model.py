"""`keras-transformers train-language-model`: texts → a preset folder for `generate`."""

import pathlib
import sys
from typing import Annotated, Any, cast

import typer

from keras_transformers.apps.cli.options import (
    TEXT_FILE,
    Checkpoints,
    Curve,
    Fields,
    PresetFolder,
    command_of_records,
)
from keras_transformers.apps.cli.train import DRAWN_EVERY
from keras_transformers.apps.runs.settings import ModelSettings, TrainingSettings

Model = Annotated[ModelSettings, Fields("num_layers", "dropout", hidden_dim=384, num_heads=6)]
Training = Annotated[TrainingSettings, Fields("epochs", "batch_tokens", "seed")]


@command_of_records
def train_language_model(
    output: PresetFolder,
    texts: Annotated[
        list[pathlib.Path], typer.Option(**TEXT_FILE, help="A text file to train on (.gz too); repeat for more.")
    ],
    model: Model,
    training: Training,
    validation_texts: Annotated[
        list[pathlib.Path] | None, typer.Option(**TEXT_FILE, help="The same, held out.")
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Take each line as a text, not each file.")] = False,
    vocabulary_size: Annotated[int, typer.Option(min=257, help="The size of the vocabulary.")] = 8000,
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="The highest learning rate; by default 0.5 / hidden_dim, at most 0.002.")
    ] = None,
    max_length: Annotated[int, typer.Option(min=2, help="The context length in tokens.")] = 256,
    checkpoints: Checkpoints = None,
    picture: Curve = None,
) -> None:
    """Train a GPT (Radford et al. 2019) and its tokenizer on texts, and save both as a preset."""
    from keras_transformers.extras import require
    from keras_transformers.files.lines import read_texts
    from keras_transformers.formats.preset import check_replaceable

    # Checks that can fail come before hours of training.
    check_replaceable(output)
    require(matplotlib=picture)
    learnt = read_texts(texts, lines)
    held_out = read_texts(validation_texts, lines) if validation_texts else None

    import keras_transformers as kt
    from keras_transformers.apps.seeds import set_random_seed
    from keras_transformers.training import Checkpoint, LearningCurve, LinearDecay

    set_random_seed(training.seed)
    # Byte-level tokens spell any text, so the only special token is the one that ends a text.
    special: dict[str, Any] = {
        "padding_token": None,
        "start_token": None,
        "unknown_token": None,
        "end_token": "<|endoftext|>",
    }
    tokenizer = kt.Tokenizer.train(learnt, vocabulary_size=vocabulary_size, **special)
    config = kt.models.gpt(
        tokenizer.vocabulary_size,
        num_layers=cast(int, model.num_layers),  # a pair is for two stacks
        hidden_dim=model.hidden_dim,
        num_heads=model.num_heads,
        max_length=max_length,
        dropout=model.dropout,
        padding_id=None,
    )
    task = kt.CausalLM(config, tokenizer)
    if learning_rate is not None:
        optimizer = task.default_optimizer()
        optimizer.learning_rate = LinearDecay(learning_rate)
        task.compile(optimizer)
    aside = f", {len(held_out)} held out" if held_out else ""
    print(
        f"{len(learnt)} texts{aside}; {tokenizer.vocabulary_size} tokens; {task.count_params():,} parameters",
        file=sys.stderr,
    )
    callbacks = []
    if checkpoints is not None:
        callbacks.append(Checkpoint(checkpoints))
    if picture is not None:
        callbacks.append(LearningCurve(picture, every_steps=DRAWN_EVERY))
    task.fit(
        learnt,
        validation_data=held_out,
        batch_tokens=training.batch_tokens,
        epochs=training.epochs,
        seed=training.seed,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    task.save_to_preset(output)
    print(f"Saved {output}. Try: keras-transformers generate --preset {output} '…'", file=sys.stderr)
