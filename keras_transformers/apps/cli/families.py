"""`keras-transformers families`: the families of models that load, and the keys of `config.json` that each reads."""

import collections
import collections.abc
import typing

import typer

_TITLE = """# Families of models

`keras-transformers families` prints this page, and `keras-transformers families NAME` the keys of `config.json` that a
family reads. [Adding a family](porting.md) says what a new one takes."""


def families(
    model_type: typing.Annotated[
        str | None, typer.Argument(help="The model_type of a family, for the keys of its config.json.")
    ] = None,
) -> None:
    """List the families of models that load, or the keys of `config.json` that one of them reads (Markdown)."""
    from keras_transformers.families import registry
    from keras_transformers.spelling import did_you_mean

    known = registry.families()
    if model_type is not None and model_type not in known:
        raise ValueError(
            f"Expected the model_type of a family, got {model_type!r}{did_you_mean(model_type, known)}. "
            "`keras-transformers families` lists all."
        )
    print(overview() if model_type is None else keys(known[model_type]))


def overview() -> str:
    """Return the page of the families that load, Markdown: `docs/families.md`."""
    from keras_transformers.families import registry
    from keras_transformers.formats import gguf_config, keras_hub_models

    in_gguf = collections.defaultdict(list)
    for name, architecture in gguf_config.ARCHITECTURES.items():
        in_gguf[architecture.model_type].append(name)
    in_keras_hub = keras_hub_models.classes()
    rows = []
    for name, family in sorted(registry.families().items()):
        tasks = dict.fromkeys(head.task for head in family.heads)
        called = f"`{name}`" + (f" (in files `{family.written_type}`)" if family.written_type else "")
        rows.append((called, ", ".join(tasks), ", ".join(in_gguf[name]), ", ".join(in_keras_hub.get(name, ()))))
    rows.append(("folders of Marian itself, without `config.json` (Firefox, OPUS-MT)", "Seq2SeqLM", "", ""))
    return f"{_TITLE}\n\n{_table(('model_type', 'tasks', 'architecture in GGUF', 'class in KerasHub'), rows)}"


def keys(family: typing.Any) -> str:
    """Return the keys of `config.json` that a family reads: a Markdown table."""
    from keras_transformers.families import keys as rows_of

    descriptions = {
        rows_of.Expect: lambda row: (_values(row.allowed), "any other value is refused"),
        rows_of.Repeat: lambda row: ("", f"may repeat {row.of}, not contradict it"),
        rows_of.InTraining: lambda row: (
            _values((row.default,)),
            "another value passes with a warning: training alone",
        ),
        rows_of.Inert: lambda row: ("", "changes nothing"),
    }
    rows = []
    for row in family.keys.rows:
        if isinstance(row, rows_of.Key):
            default = "" if callable(row.default) else _values((row.default,))
            about = default, ", ".join(f"`{path}`" for path in row.paths)
        else:
            about = descriptions.get(type(row), lambda row: ("", "read together"))(row)
        if row.names:
            rows.append((", ".join(f"`{name}`" for name in row.names), *about))
    return _table(("key", "default", "field of ModelConfig"), rows)


def _values(values: tuple[typing.Any, ...]) -> str:
    return " or ".join(f"`{value!r}`" for value in values)


def _table(headings: tuple[str, ...], rows: collections.abc.Sequence[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ("---",) * len(headings), *rows))
