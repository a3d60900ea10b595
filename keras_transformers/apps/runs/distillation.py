"""The settings of a run that makes a student of teachers: what teaches, and what becomes of the student."""

import typing

from keras_transformers.records import Count, Positive, Rate, Size, record

# The published sizes of Firefox's students: layers, width, heads and feed-forward width.
SIZES = {"tiny": ((6, 2), 256, 8, 1536), "base-memory": ((6, 4), 384, 8, 1536), "base": ((6, 2), 512, 8, 2048)}
CHOICES = ("agreement", "score")
RULES = ("int8", "marian")  # those of transforms/quantization.py, which loads Keras
EXPORTS = ("hugging-face", "ctranslate2", "marian")


@record
class TeacherSettings:
    """Translations of the source side by trained models, which a student learns in the place of the references.

    Attributes:
        preset: the model, or several, whose candidates are put together: folders, or names for `from_preset`.
        source_language, target_language: for multilingual teachers.
        sources: a file of further source lines, which have no references.
        num_beams: the beams of each teacher, all of which are candidates.
        max_new_tokens: the most tokens of a translation; by default as the teacher's own settings say.
        batch_size: sentences translated together.
        shard_lines: source lines of a file of translations. A stopped run resumes after the last whole file.
        choose: which candidate is learnt: "agreement", the one most like the reference by chrF, or "score", the one
            that the teacher finds most likely. A line without a reference has the latter.
        min_score: the least score of a candidate, its mean log-probability; null for any.
        min_agreement: the least chrF with the reference, from 0 to 100.
        checks: whether candidates that are empty, much too long or short, repeat themselves, copy the source or are in
            another script are left out.
        references: whether the references are learnt as well.
        share_vocabulary: whether the student has the teacher's vocabulary.
        logits: the weight of the teacher's probabilities of each token in the loss; needs one teacher and
            `share_vocabulary`.
        temperature: the divisor of both models' logits in that part of the loss.

    Source: Kim and Rush 2016 (both kinds of distillation, and choosing by agreement).
    """

    preset: str | tuple[str, ...]
    source_language: str | None = None
    target_language: str | None = None
    sources: str | None = None
    num_beams: Size = 8
    max_new_tokens: Size | None = None
    batch_size: Size = 64
    shard_lines: Size = 2000
    choose: str = "agreement"
    min_score: float | None = None
    min_agreement: float = 0.0
    checks: bool = True
    references: bool = False
    share_vocabulary: bool = False
    logits: Rate = 0.0
    temperature: Positive = 1.0

    def __post_init__(self) -> None:
        if self.choose not in CHOICES:
            raise ValueError(f"Expected choose to be one of {', '.join(CHOICES)}, got {self.choose!r}.")
        if not self.presets or len(set(self.presets)) < len(self.presets):
            raise ValueError(f"Expected one preset, or several that differ, got {self.preset!r}.")
        if not 0 <= self.min_agreement <= 100:
            raise ValueError(f"Expected min_agreement from 0 to 100, got {self.min_agreement}.")
        if self.share_vocabulary and len(self.presets) > 1:
            raise ValueError(f"Expected one preset to share the vocabulary of, got {len(self.presets)}.")
        if self.logits and not self.share_vocabulary:
            raise ValueError(f"Expected share_vocabulary: true with logits={self.logits}: the tokens must be the same.")
        if self.temperature != 1.0 and not self.logits:
            raise ValueError(
                f"Expected logits with temperature={self.temperature}, got 0: the temperature changes only that part "
                "of the loss. Give logits, or leave the temperature out."
            )

    @property
    def presets(self) -> tuple[str, ...]:
        """The teachers."""
        return (self.preset,) if isinstance(self.preset, str) else self.preset

    @property
    def languages(self) -> dict[str, str | None]:
        """The languages, as arguments of `translate`."""
        return {"source_language": self.source_language, "target_language": self.target_language}


@record
class StudentSettings:
    """A small, fast model in the place of `model`, and what becomes of it.

    Attributes:
        size: "tiny", "base-memory" or "base", the sizes of Firefox's students.
        num_layers, hidden_dim, num_heads, intermediate_dim: sizes that replace those of `size`.
        simple_recurrence: whether the decoder has a simple recurrent unit (SSRU) in the place of self-attention.
        dropout: the share of activations dropped.
        max_length: tokens that the model sees at once.
        quantization: "int8" for a preset of int8 weights, or "marian": the int8 of Marian's files, one scale for each
            matrix; null for none.
        quantization_aware_epochs: further epochs, in which the weights are rounded to such numbers after each update.
        quantization_aware_learning_rate: the learning rate at their beginning; it falls to 0.
        export: other formats to write beside the preset: "hugging-face" and "ctranslate2", which know no
            `simple_recurrence`, and "marian", which needs the vocabulary of a model of Marian
            (`teacher.share_vocabulary`).
    """

    size: str = "tiny"
    num_layers: tuple[Size, Size] | None = None
    hidden_dim: Size | None = None
    num_heads: Size | None = None
    intermediate_dim: Size | None = None
    simple_recurrence: bool = True
    dropout: Rate = 0.1
    max_length: Size = 256
    quantization: str | None = None
    quantization_aware_epochs: Count = 0
    quantization_aware_learning_rate: Positive = 1e-4
    export: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value, known in (
            ("size", [self.size], SIZES),
            ("quantization", [self.quantization] if self.quantization else [], RULES),
            ("export", self.export, EXPORTS),
        ):
            if not set(value) <= set(known):
                raise ValueError(f"Expected {name} of {', '.join(known)}, got {getattr(self, name)!r}.")
        if (self.quantization == "marian") != ("marian" in self.export) and self.quantization is not None:
            raise ValueError(
                f"Expected quantization: marian together with the export marian, got quantization={self.quantization} "
                f"and export={', '.join(self.export) or 'none'}. int8 has a scale for each output, Marian one for each "
                "matrix."
            )
        if self.quantization_aware_epochs and self.quantization is None:
            raise ValueError(
                "Expected quantization with quantization_aware_epochs, got null. Name the kind of numbers."
            )

    def sizes(self) -> dict[str, typing.Any]:
        """The sizes of the model, by the names of the arguments of `kt.models.transformer`."""
        names = ("num_layers", "hidden_dim", "num_heads", "intermediate_dim")
        own = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return {**dict(zip(names, SIZES[self.size], strict=True)), **own}
