"""The translator that a command opens: an encoder-decoder as it is, a decoder with the prompt that asks it; and what
its translations have to keep."""

import dataclasses
import pathlib
import sys
from typing import Annotated, Any

import typer

from keras_transformers.apps.cli.options import TEXT_FILE, ReportOptions
from keras_transformers.apps.cli.texts import given


def open_translator(preset: str, template: str | None) -> Any:
    """Return a `Seq2SeqLM`, or, for a decoder or with a template, a `Translator`."""
    import keras_transformers as kt
    from keras_transformers.tasks import presets

    try:
        is_decoder = template is None and presets.opened(preset).config.encoder is None
    except (OSError, ValueError):  # which loading reports
        is_decoder = False
    if template is None and not is_decoder:
        return kt.Seq2SeqLM.from_preset(preset)
    return kt.Translator.from_preset(preset, template=None if template in (None, "auto") else template)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Parts of a source that a translation keeps, and terms that it has to use."""

    protect: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep tags, urls, emails, placeholders or emoji as they are, or all of them; repeat for more. Those "
            "without a place in the translation stand at its end, and are counted."
        ),
    ] = None
    glossary: Annotated[
        pathlib.Path | None,
        typer.Option(**TEXT_FILE, help="Terms and their translations, a line of term<TAB>translation each."),
    ] = None

    def options(self) -> dict[str, Any]:
        """Return the arguments of `translate` that the user gave."""
        return given(protect=self.protection(), glossary=self.terms())

    def protection(self) -> Any:
        """Return the `Protection` that --protect names, or None."""
        if not self.protect:
            return None
        from keras_transformers.data.protection import Protection

        return Protection(True if "all" in self.protect else self.protect)

    def terms(self) -> Any:
        """Return the `Glossary` of --glossary, or None."""
        if self.glossary is None:
            return None
        from keras_transformers.data.glossary import Glossary
        from keras_transformers.files.lines import read_lines

        terms = []
        for number, line in enumerate(read_lines(self.glossary), start=1):
            if line.count("\t") != 1 and line.strip():
                raise ValueError(f"Expected term<TAB>translation in {self.glossary}, line {number}, got {line!r:.80}.")
            terms += [line.split("\t")] if line.strip() else []
        return Glossary(terms)


def checks_of(reporting: ReportOptions, options: dict[str, Any]) -> Any:
    """Return the `TranslationChecks` of translations that were made with some `options`."""
    return reporting.checks(**{name: options.get(name) for name in ("protect", "glossary")})


def print_counts(report: Any, options: dict[str, Any]) -> None:
    """Print the counts of a report, and those of protected parts."""
    print(report.table(), file=sys.stderr)
    if (kept := options.get("protect")) is not None:
        shown = ", ".join(f"{count:,} {name}" for name, count in kept.counts.items())
        print(f"protected: {shown} (parts at the end of a translation, for want of a place)", file=sys.stderr)
