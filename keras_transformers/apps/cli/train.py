"""`keras-transformers train`: sentence pairs → a preset folder."""

import sys
from typing import Annotated

import typer

from keras_transformers.apps.cli.options import (
    Checkpoints,
    Curve,
    Fields,
    HeldOutFiles,
    PairFiles,
    PresetFolder,
    command_of_records,
)
from keras_transformers.apps.runs.settings import ModelSettings, TrainingSettings

Model = Annotated[
    ModelSettings, Fields("num_layers", "hidden_dim", "num_heads", "dropout", intermediate_dim=2048, max_length=1024)
]
Training = Annotated[TrainingSettings, Fields("epochs", "batch_tokens", "learning_rate", "warmup_steps", "seed")]

# The longest translation scored during training, in tokens: early in training few translations end by themselves.
LONGEST_SCORED = 128
# Training steps between two points of the curve.
DRAWN_EVERY = 20


@command_of_records
def train(
    output: PresetFolder,
    data: PairFiles,
    held_out: HeldOutFiles,
    model: Model,
    training: Training,
    vocabulary_size: Annotated[
        int, typer.Option(min=8, help="The size of the vocabulary, for both languages together.")
    ] = 8000,
    separate_vocabularies: Annotated[
        bool, typer.Option("--separate-vocabularies", help="Train a vocabulary of that size for each language.")
    ] = False,
    checkpoints: Checkpoints = None,
    picture: Curve = None,
    bleu: Annotated[
        bool, typer.Option("--bleu", help="Translate the held-out pairs and score them after each epoch.")
    ] = False,
) -> None:
    """Train the original Transformer (Vaswani et al. 2017) on sentence pairs and save it as a preset."""
    from keras_transformers.extras import require
    from keras_transformers.formats.preset import check_replaceable

    # Checks that can fail come before hours of training.
    check_replaceable(output)
    require(matplotlib=picture, sacrebleu=bleu)
    sources, targets = data.read()
    validation = held_out.read()
    if bleu and validation is None:
        raise ValueError("Expected held-out sentences for --bleu, got none. Give --validation-pairs.")

    import keras

    import keras_transformers as kt
    from keras_transformers.apps.runs.models import config_for, learn_vocabulary
    from keras_transformers.apps.seeds import set_random_seed
    from keras_transformers.training import Checkpoint, InverseSquareRoot, LearningCurve, TranslationQuality

    set_random_seed(training.seed)

    shared = not separate_vocabularies
    options = {"kind": "bpe", "vocabulary_size": vocabulary_size, "normalization": "nmt_nfc"}
    tokenizer = learn_vocabulary(sources, targets, shared=shared, **options)
    config = config_for(tokenizer, **vars(model))
    task = kt.Seq2SeqLM(config, tokenizer=tokenizer)
    peak = training.learning_rate
    if peak is None:
        peak = (model.hidden_dim * training.warmup_steps) ** -0.5
    task.compile(keras.optimizers.Adam(InverseSquareRoot(peak, training.warmup_steps), beta_2=0.98, epsilon=1e-9))
    watched = f", {len(validation[0])} held out" if validation else ""
    sizes = [tokenizer.vocabulary_size] if shared else [tokenizer.vocabulary_size, tokenizer.target_vocabulary_size]
    print(
        f"{len(sources)} pairs{watched}; {' and '.join(map(str, sizes))} tokens; {task.count_params():,} parameters",
        file=sys.stderr,
    )
    # Order matters: each callback reads the logs that the ones before it wrote.
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
        batch_tokens=training.batch_tokens,
        epochs=training.epochs,
        seed=training.seed,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    task.save_to_preset(output)
    print(f"Saved {output}. Try: keras-transformers translate --preset {output} '…'", file=sys.stderr)
