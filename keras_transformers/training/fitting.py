"""`fit_batches`: one training from any batch on, by Keras's `fit`, whose epochs all have one number of steps.

stopped here ▼
epoch 2: ████░░░░      a `fit` of what is left of this epoch
epoch 3: ░░░░░░░░ …    a second `fit` of all others            callbacks see one training
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
    """Train by `fit` on `batches` from `position` on, epoch by epoch, and return its `keras.callbacks.History`.

    Keras has one number of steps for all epochs of a `fit`, so an epoch that was interrupted is finished by a `fit` of
    its own, and the others follow in a second; to the callbacks it is one training.

    Args:
        fit: `model.fit`, bound.
        batches: `Batches`.
        position: where to begin, as `Checkpoint.restore` returns it; the very beginning if `None`.
        epochs: the epoch to stop before, counted from the start of training, not from `position`.
        validation: `Batches` to evaluate on after each epoch (made with `shuffle=False`), or `None`.
        callbacks, verbose, **options: of `fit`.

    Raises:
        ValueError: for a `steps_per_execution` that does not divide the epoch: Keras would train on more.
    """
    model, position = fit.__self__, position or BEGINNING
    model._initial_epoch = None  # of another training, which keras.callbacks.BackupAndRestore took up
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
    """Where training begins: at the epoch that a callback of Keras's has restored, if one has."""
    epoch = getattr(model, "_initial_epoch", None)
    return position if not epoch or epoch == position.epoch else Position(epoch, 0, position.step)


@contextlib.contextmanager
def _averages_last(model: keras.Model, more: Callable[[], bool]) -> Iterator[None]:
    """Have an optimizer with `use_ema` put its averages in the place of the weights once, when training ends.

    Keras does so at the end of each `fit`. On JAX a weight and its average are one array then, which Keras's next `fit`
    would give away twice.

    Args:
        more: a function that says whether another `fit` of this training follows.
    """
    optimizer = model.optimizer
    finalize = optimizer.finalize_variable_values
    own = vars(optimizer).get("finalize_variable_values")

    def once(variables: list[keras.Variable]) -> None:
        if sys.exc_info()[0] is not None or more() and not model.stop_training:
            return  # on JAX Keras calls it after an error too
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
    """The callbacks of a training in two parts: one_training of its beginning and of its end once each."""

    begun = more = False

    def on_train_begin(self, logs: dict[str, typing.Any] | None = None) -> None:
        if not self.begun:
            super().on_train_begin(logs)
        self.begun = True

    def on_train_end(self, logs: dict[str, typing.Any] | None = None) -> None:
        self.last_logs = logs
        if not self.more:
            super().on_train_end(logs)

    def end(self) -> None:
        """The second part does not come."""
        if self.more:
            super().on_train_end(self.last_logs)
