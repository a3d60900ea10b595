"""Distillation of logits: a trained model's probabilities of each token are targets of the loss.

    loss = (1 - weight) * cross-entropy of the labels + weight * temperature² * KL(teacher || student)

Legend: `B` batch, `T` tokens, `V` vocabulary.
"""

import dataclasses
import typing

from keras import ops

from keras_transformers.backends.types import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher:
    """A trained model whose probabilities another model learns: `student.compile(teacher=Teacher(model))`.

    The teacher reads each batch of training as the student does, without dropout, and does not change. It adds its
    forward pass to each step, and the loss holds the logits of a whole batch. A `.keras` file does not store it.

    Attributes:
        task: a `CausalLM` or `Seq2SeqLM` with the vocabulary of the student.
        weight: the weight of the teacher's part of the loss, in (0, 1].
        temperature: the divisor of both models' logits.

    Example:
        >>> student.compile(teacher=kt.training.Teacher(kt.Seq2SeqLM.from_preset("english-french"), weight=0.5))

    Source: Hinton et al. 2015, section 2; Kim and Rush 2016, section 3.1.
    """

    task: typing.Any
    weight: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.weight <= 1.0:
            raise ValueError(f"Expected the weight of a teacher in (0, 1], got {self.weight}.")
        if not self.temperature > 0.0:
            raise ValueError(f"Expected the temperature of a teacher above 0, got {self.temperature}.")

    def check(self, student: typing.Any) -> None:
        """Refuse a teacher of another task or vocabulary.

        Raises:
            TypeError, ValueError: with the difference.
        """
        if type(self.task) is not type(student) or self.task is student:
            got = "the student itself" if self.task is student else type(self.task).__name__
            raise TypeError(f"Expected a {type(student).__name__} as the teacher, got {got}.")
        names = ("embeddings", "target_embeddings")
        sizes, own = ([getattr(task.config, name).vocabulary_size for name in names] for task in (self.task, student))
        if sizes != own:
            raise ValueError(
                f"Expected a teacher with the vocabulary of the student, of {own[-1]} tokens, got {sizes[-1]}. Give "
                "both the same tokenizer, or learn the teacher's translations instead."
            )
        tokenizers = [each.tokenizer for each in (self.task, student)]
        if None not in tokenizers and _tokens(tokenizers[0]) != _tokens(tokenizers[1]):
            raise ValueError(
                "Expected a teacher with the vocabulary of the student, got one whose ids stand for other tokens. Give "
                "both the same tokenizer, or learn the teacher's translations instead."
            )

    def loss(self, inputs: typing.Any, losses: Tensor, logits: Tensor) -> Tensor:
        """The loss of each token, float32 `[B, T]`.

        Args:
            inputs: the inputs of the student.
            losses: its cross-entropy, float32 `[B, T]`.
            logits: its outputs, `[B, T, V]`.
        """
        taught = ops.stop_gradient(self.task(inputs, training=False))
        taught, learnt = (
            ops.log_softmax(ops.cast(each, "float32") / self.temperature, axis=-1) for each in (taught, logits)
        )
        divergence = ops.sum(ops.exp(taught) * (taught - learnt), axis=-1)
        return (1.0 - self.weight) * losses + self.weight * self.temperature**2 * divergence


def check_teacher(teacher: typing.Any, student: typing.Any) -> None:
    """Refuse what is no `Teacher`, and a teacher of another task or vocabulary."""
    if not isinstance(teacher, Teacher):
        raise TypeError(f"Expected teacher to be a kt.training.Teacher(model), got {type(teacher).__name__}.")
    teacher.check(student)


def _tokens(tokenizer: typing.Any) -> list[dict[str, int]]:
    return [side.engine.get_vocab() for side in tokenizer._sides]
