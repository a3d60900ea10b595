"""`fit_batches`: training from any batch on with `fit` of Keras, whose epochs all have the same number of steps.

stopped here ▼
epoch 2: ████░░░░      a `fit` for the rest of this epoch
epoch 3: ░░░░░░░░ …    a second `fit` for all others           callbacks see one training
"""

import contextlib
import sys
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator

import keras

from keras_transformers.data.batches import BEGINNING, Batches, Position, keras_data
from keras_transformers.training.optimizers import parts
from keras_transformers.training.refusals import check_steps_per_execution


def fit_batches(
    fit: typing.Any,
    batches: Batches,
    *,
    position: Position | None = None,
    epochs: int = 1,
    validation: Batches | None = None,
    callbacks: Iterable[keras.callbacks.Callback] | None = (),
    verbose: str | int = "auto",
    **options: typing.Any,
) -> keras.callbacks.History:
    """Train with `fit` on `batches` from `position` on. Returns the `keras.callbacks.History`.

    Keras uses one number of steps for all epochs of a `fit`. So one `fit` finishes an interrupted epoch, and a second
    one trains the other epochs. Callbacks see one training.

    Args:
        fit: the bound method `model.fit`.
        batches: `Batches`.
        position: where to begin, from `Checkpoint.restore`; `None` for the beginning.
        epochs: the number of the epoch to stop before, counted from the start of training, not from `position`.
        validation: `Batches` for evaluation after each epoch (made with `shuffle=False`), or `None`.
        callbacks, verbose, **options: arguments of `fit`.

    Raises:
        ValueError: for a `steps_per_execution` that does not divide the epoch: Keras would train on extra batches.
    """
    model, position = fit.__self__, position or BEGINNING
    model._initial_epoch = None  # from an earlier training with keras.callbacks.BackupAndRestore
    if position.batch >= len(batches):
        position = Position(position.epoch + 1, 0, position.step)
    counts = {"an_epoch": len(batches), "an_epoch_that_are_done": position.batch}
    if validation is not None:
        counts["the_validation"] = len(validation)
    check_steps_per_execution(model.steps_per_execution, **counts)
    if position.epoch >= epochs:
        warnings.warn(
            f"Nothing is trained: {position.epoch} epochs are done, and epochs={epochs} counts from the beginning. "
            "Ask for more, or train in an empty folder.",
            stacklevel=3,
        )
    if validation is not None:
        options |= {"validation_data": keras_data(validation), "validation_steps": len(validation)}
    one_training = _OneTraining(
        list(callbacks or ()),
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=len(batches),
    )

    def part(position: Position, epochs: int) -> keras.callbacks.History:
        steps = len(batches) - position.batch
        one_training.set_params({**one_training.params, "steps": steps, "batches": batches})
        rest = {"initial_epoch": position.epoch, "epochs": epochs, "steps_per_epoch": steps, "shuffle": False}
        data = keras_data(batches, lambda: _restored(model, position))
        with _averages_last(model, lambda: one_training.more):
            return fit(data, callbacks=one_training, verbose=verbose, **rest, **options)

    if position.batch:
        one_training.more = position.epoch + 1 < epochs
        history = part(position, position.epoch + 1)
        if model.stop_training or not one_training.more:
            one_training.end()
            return history
        position = Position(position.epoch + 1, 0, position.step + len(batches) - position.batch)
        one_training.more = False
    return part(position, epochs)


def _restored(model: keras.Model, position: Position) -> Position:
    """The position where training begins: the epoch that a callback of Keras restored, if any."""
    epoch = getattr(model, "_initial_epoch", None)
    return position if not epoch or epoch == position.epoch else Position(epoch, 0, position.step)


@contextlib.contextmanager
def _averages_last(model: keras.Model, more: Callable[[], bool]) -> Iterator[None]:
    """Make an optimizer with `use_ema` replace the weights by their averages only once, at the end of training.

    Keras does this at the end of each `fit`. On JAX a weight and its average then are one array, which the next `fit`
    would donate twice.

    Args:
        more: a function that returns whether another `fit` of this training follows.
    """
    optimizer = model.optimizer
    finalize = optimizer.finalize_variable_values
    own = vars(optimizer).get("finalize_variable_values")

    def once(variables: list[keras.Variable]) -> None:
        if sys.exc_info()[0] is not None or more() and not model.stop_training:
            return  # on JAX, Keras calls it after an error too
        finalize(variables)
        for part in parts(optimizer):
            for average in part._model_variables_moving_average if part.use_ema and part.built else ():
                average.assign(keras.ops.copy(average))

    optimizer.finalize_variable_values = once
    try:
        yield
    finally:
        del optimizer.finalize_variable_values
        if own is not None:
            optimizer.finalize_variable_values = own


class _OneTraining(keras.callbacks.CallbackList):
    """The callbacks of a training in two parts: they see its beginning and its end only once."""

    has_begun = more = False

    def on_train_begin(self, logs: dict[str, typing.Any] | None = None) -> None:
        if not self.has_begun:
            super().on_train_begin(logs)
        self.has_begun = True

    def on_train_end(self, logs: dict[str, typing.Any] | None = None) -> None:
        self.last_logs = logs
        if not self.more:
            super().on_train_end(logs)

    def end(self) -> None:
        """End the training without its second part."""
        if self.more:
            super().on_train_end(self.last_logs)
