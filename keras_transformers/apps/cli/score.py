"""`keras-transformers score`: the likelihood of given translations under a preset, line by line."""

import dataclasses
import math
import sys
from typing import Annotated, Any

import typer

from keras_transformers.apps.cli.options import Languages, PairFiles, Preset, Template, command_of_records
from keras_transformers.apps.cli.translate import BATCHES_AT_ONCE, write
from keras_transformers.apps.cli.translators import open_translator


@command_of_records
def score(
    preset: Preset,
    files: PairFiles,
    languages: Languages,
    batch_size: Annotated[int, typer.Option(min=1, help="Pairs per batch.")] = 32,
    template: Template = None,
) -> None:
    """Score given translations: log-probability, perplexity and number of tokens for each line, separated by tabs. A
    line with an empty source stays empty. The overall perplexity goes to standard error."""
    from keras_transformers.apps.cli.texts import given, progress

    sources, targets = files.read()

    task = open_translator(preset, template)
    total, tokens, size = 0.0, 0, batch_size * BATCHES_AT_ONCE
    with progress("scoring", total=len(sources)) as advance:
        for begin in range(0, len(sources), size):
            rows = range(begin, min(begin + size, len(sources)))
            full = [row for row in rows if sources[row].strip()]
            scores: Any = task.score(
                [sources[row] for row in full],
                [targets[row] for row in full],
                per_token=True,
                batch_size=batch_size,
                progress=advance,
                **given(**dataclasses.asdict(languages)),
            )
            lines = dict.fromkeys(rows, "")
            for row, each in zip(full, scores, strict=True):
                lines[row] = f"{each.sum():.4f}\t{math.exp(-each.mean()):.4f}\t{len(each)}"
                total, tokens = total + float(each.sum()), tokens + len(each)
            write(lines.values())
    if tokens:
        print(f"{len(sources)} pairs, {tokens} tokens, perplexity {math.exp(-total / tokens):.4f}", file=sys.stderr)
