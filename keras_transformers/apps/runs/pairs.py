"""The pairs of a run: read, held out, cleaned, translated by a teacher, and copied with changes."""

import pathlib
import random
import typing
from collections.abc import Callable

from keras_transformers.apps.runs import teachers
from keras_transformers.apps.runs.settings import TranslationRun
from keras_transformers.data.augmentation import Augmentation, augment
from keras_transformers.data.cleaning import clean
from keras_transformers.files.lines import read_lines, read_pairs

Lines = tuple[list[str], list[str]]


class RunPairs(typing.NamedTuple):
    """The pairs of a run, each as `(sources, targets)`, and how many each step took or added.

    Attributes:
        train, validation, test: the pairs.
        counts: the sections of the report: "pairs", "taught" and "augmented".
    """

    train: Lines
    validation: Lines
    test: Lines
    counts: dict[str, dict[str, int]]


def pairs_of(run: TranslationRun, folder: pathlib.Path, say: Callable[[str], typing.Any]) -> RunPairs:
    """Prepare the pairs of a run. The translations of a teacher are kept in `folder`.

    Raises:
        ValueError: for files of unequal lengths, and if a step leaves no pairs.
    """
    train, validation, test = _data(run.data, run.training.seed)
    held_out = [*zip(*validation, strict=True)] + ([] if test is validation else [*zip(*test, strict=True)])
    cleaned = clean(train[0], train[1], run.cleaning, held_out)
    say(cleaned.table())
    if not cleaned.sources:
        raise ValueError("Expected some pairs to learn from, got none after cleaning. Loosen its rules.")
    train = cleaned.sources, cleaned.targets
    counts = {
        "pairs": {"read": len(train[0]) + sum(cleaned.dropped.values()), **cleaned.dropped, "kept": len(train[0])}
    }
    if run.teacher is not None:
        further = [] if run.teacher.sources is None else list(read_lines(run.teacher.sources))
        taught = teachers.teach(run.teacher, *train, further, folder / "teacher", say)
        again = clean(taught.sources, taught.targets, run.cleaning, held_out)
        cleaned_again = {f"cleaned: {rule}": count for rule, count in again.dropped.items() if count}
        counts["taught"] = {**taught.counts, **cleaned_again, "learnt": len(again.sources)}
        say("\n".join(f"{name:<19} {count:>12,}" for name, count in counts["taught"].items()))
        if not again.sources:
            raise ValueError(
                "Expected some translations of the teacher to learn from, got none: the table says what removed them. "
                "Loosen min_score, min_agreement or the cleaning, or try another teacher."
            )
        train = again.sources, again.targets
    if run.augmentation != Augmentation(seed=run.augmentation.seed):
        sources, targets, counts["augmented"] = augment(*train, run.augmentation)
        train = sources, targets
    return RunPairs(train, validation, test, counts)


def _data(data: typing.Any, seed: int) -> typing.Any:
    """Return the training, validation and test pairs, each as `(sources, targets)`."""

    def read(part: str) -> tuple[list[str], list[str]]:
        source, target, pairs = (getattr(data, f"{part}{name}") for name in ("source", "target", "pairs"))
        return read_pairs(source, target, pairs, prefix=f"data.{part}")

    def given(part: str) -> bool:
        return any(getattr(data, f"{part}{name}") for name in ("source", "target", "pairs"))

    train = read("")
    validation, test = (read(part) if given(part) else None for part in ("validation_", "test_"))
    if validation is None:
        pairs = sorted(set(zip(*train, strict=True)))  # duplicates would be in both training and validation
        count = min(data.held_out, len(pairs) // 10)
        if count < 1:
            raise ValueError(
                f"Expected at least 10 different pairs to hold some out of, got {len(pairs)}. Give "
                "data.validation_pairs."
            )
        chosen = random.Random(seed).sample(pairs, count)
        validation = [source for source, _ in chosen], [target for _, target in chosen]
    return train, validation, test or validation
