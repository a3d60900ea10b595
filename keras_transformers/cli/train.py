"""`keras-transformers train`: pairs of sentences → a preset folder."""

import pathlib
import sys
from typing import Annotated

import typer

from keras_transformers.cli.texts import TEXT_FILE


def train(
    output: Annotated[pathlib.Path, typer.Argument(help="The preset folder to write.")],
    source: Annotated[
        pathlib.Path | None, typer.Option(**TEXT_FILE, help="Sentences to translate, one a line (.gz too).")
    ] = None,
    target: Annotated[pathlib.Path | None, typer.Option(**TEXT_FILE, help="Their translations, line by line.")] = None,
    pairs: Annotated[pathlib.Path | None, typer.Option(**TEXT_FILE, help="Instead: source<TAB>target lines.")] = None,
    validation_source: Annotated[pathlib.Path | None, typer.Option(**TEXT_FILE, help="The same, held out.")] = None,
    validation_target: Annotated[pathlib.Path | None, typer.Option(**TEXT_FILE, help="The same, held out.")] = None,
    validation_pairs: Annotated[pathlib.Path | None, typer.Option(**TEXT_FILE, help="The same, held out.")] = None,
    vocabulary_size: Annotated[int, typer.Option(min=8, help="Tokens, shared by both languages.")] = 8000,
    num_layers: Annotated[int, typer.Option(min=1, help="Layers of the encoder, and of the decoder.")] = 6,
    hidden_dim: Annotated[int, typer.Option(min=1, help="The width of the model.")] = 512,
    num_heads: Annotated[int, typer.Option(min=1, help="Attention heads.")] = 8,
    intermediate_dim: Annotated[int, typer.Option(min=1, help="The inner width of the feed-forward layers.")] = 2048,
    dropout: Annotated[float, typer.Option(min=0, max=1, help="The share of activations dropped.")] = 0.1,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pairs.")] = 10,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens in a batch.")] = 4096,
    checkpoints: Annotated[
        pathlib.Path | None, typer.Option(help="Keep checkpoints here, and go on from the newest.")
    ] = None,
):
    """Train the original Transformer (Vaswani et al. 2017) on sentence pairs and save it as a preset."""
    from keras_transformers.checkpoints.preset import check_replaceable
    from keras_transformers.cli.texts import read_pairs

    # What can fail, fails before hours of training.
    check_replaceable(output)
    sources, targets = read_pairs(source, target, pairs)
    validation = None
    if validation_source or validation_target or validation_pairs:
        validation = read_pairs(validation_source, validation_target, validation_pairs)

    import keras_transformers as kt

    tokenizer = kt.Tokenizer.train([*sources, *targets], kind="bpe", vocabulary_size=vocabulary_size)
    config = kt.models.transformer(
        vocabulary_size=tokenizer.vocabulary_size,
        num_layers=num_layers,
        hidden_dim=hidden_dim,
        num_heads=num_heads,
        intermediate_dim=intermediate_dim,
        dropout=dropout,
    )
    task = kt.Seq2SeqLM(config, tokenizer=tokenizer)
    task.compile()
    callbacks = []
    if checkpoints is not None:
        from keras_transformers.training.callbacks import Checkpoint

        callbacks.append(Checkpoint(checkpoints))
    options = {"batch_tokens": batch_tokens, "epochs": epochs, "callbacks": callbacks}
    task.fit(sources, targets, validation_data=validation, **options)
    task.save_to_preset(output)
    print(f"Saved {output}. Try: keras-transformers translate --preset {output} '…'", file=sys.stderr)
