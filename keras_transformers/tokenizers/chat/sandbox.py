"""The sandbox of chat templates, which are strangers' programs: jinja2's own, with bounds.

The sandbox limits a template to plain data and a few functions. `meter.py` says how much it may do.

`rendering` imports this module only to render a template, since it imports jinja2.
"""

import contextvars
import datetime
import json
from collections.abc import Callable, Mapping
from typing import Any

import jinja2.ext
import jinja2.filters
import jinja2.nodes
import jinja2.sandbox
import jinja2.utils
import jinja2.visitor

from keras_transformers.tokenizers.chat.meter import BITS, WIDEST, Meter, TooMuch

LONGEST_TEMPLATE = 500_000  # characters

# Filters that no chat needs, and whose time grows with the square of a text.
_WITHOUT = ("pprint", "striptags", "urlize", "wordwrap", "xmlattr")

_METER: contextvars.ContextVar[Meter] = contextvars.ContextVar("meter")


def run(template: jinja2.Template, values: Mapping[str, Any]) -> str:
    """The text that a template writes.

    Raises:
        TooMuch: if it passes a bound.
        Exception: any other that the template raises.
    """
    meter = Meter(values)
    token = _METER.set(meter)
    try:
        parts: list[str] = []
        for part in template.generate(values):
            meter.charge(len(part))
            parts.append(part)
        text = "".join(parts)
        meter.check(len(text))
        return text
    finally:
        _METER.reset(token)


def _step(characters: int) -> str:
    return _METER.get().step(characters)


def _made(value: Any) -> Any:
    return _METER.get().made(value)


def _measured(value: Any) -> Any:
    return _METER.get().measured(value)


class Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """jinja2's sandbox within bounds, with the functions that transformers gives to chat templates."""

    intercepted_binops = frozenset("+ - * / // ** %".split())
    # `_Counting` calls these.
    step, made, measured = staticmethod(_step), staticmethod(_made), staticmethod(_measured)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[Generation, jinja2.ext.loopcontrols],
            finalize=_finalized,
        )
        self.filters["tojson"] = _to_json
        self.filters = {name: _counted(name, each) for name, each in self.filters.items() if name not in _WITHOUT}
        self.globals = {
            "range": jinja2.sandbox.safe_range,
            "dict": _to_dict,
            "namespace": Namespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        raise jinja2.exceptions.SecurityError(f"{attribute!r} of {type(obj).__name__}")

    def _generate(self, source: jinja2.nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Counting().visit(source), *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        meter = _METER.get()
        if isinstance(left, int) and isinstance(right, int):
            _check_integers(operator, left, right)
        elif operator == "*":
            meter.check(max(meter.repeated(left, right), meter.repeated(right, left)))
        elif operator == "%" and isinstance(left, str):
            meter.check(meter.formatted(left, right))
        elif operator == "+" and isinstance(left, (str, list, tuple)):
            meter.check(meter.written(left) + meter.written(right))
        return meter.made(super().call_binop(context, operator, left, right))

    def call(__self, __context: Any, __function: Any, *args: Any, **kwargs: Any) -> Any:
        meter = _METER.get()
        if __function is _step or __function is _made or __function is _measured:
            return __function(*args)
        method = getattr(__function, "__wrapped__", __function)  # `str.format` comes wrapped
        subject = getattr(method, "__self__", None)
        if subject is not None and not isinstance(subject, type):
            if method.__name__ == "join" and args:
                args = (meter.joined(args[0], [subject]), *args[1:])
            named = {name: value for name, value in kwargs.items() if name not in ("_loop_vars", "_block_vars")}
            meter.foresee(method.__name__, subject, args, named)
        meter.step()
        with meter.inside():
            return meter.made(super().call(__context, __function, *args, **kwargs))


def _check_integers(operator: str, left: int, right: int) -> None:
    """Refuse a product or a power of very many bits."""
    if operator == "*" and left.bit_length() + right.bit_length() > BITS:
        raise TooMuch("multiplies very large integers")
    if operator == "**" and left.bit_length() * abs(right) > BITS:
        raise TooMuch("raises an integer to a very large power")


class _Counting(jinja2.visitor.NodeTransformer):
    """Puts the meter into a template: into each loop, macro and block, and around the values that they make."""

    def _counted_body(self, node: Any) -> Any:
        self.generic_visit(node)
        written = sum(len(text.data) for text in node.find_all(jinja2.nodes.TemplateData))
        step = _call("step", jinja2.nodes.Const(written))
        node.body = [jinja2.nodes.ExprStmt(step).set_lineno(node.lineno), *node.body]
        return node

    visit_For = visit_Macro = visit_CallBlock = visit_Block = visit_FilterBlock = visit_AssignBlock = _counted_body

    def _made_value(self, node: Any) -> Any:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") != "load" else _call("made", node)

    visit_List = visit_Dict = visit_Tuple = _made_value

    def visit_Getitem(self, node: jinja2.nodes.Getitem) -> Any:
        self.generic_visit(node)
        return _call("made", node) if isinstance(node.arg, jinja2.nodes.Slice) else node

    def visit_Concat(self, node: jinja2.nodes.Concat) -> Any:
        self.generic_visit(node)
        node.nodes = [_call("measured", each) for each in node.nodes]
        return _call("made", node)


def _call(name: str, value: jinja2.nodes.Expr) -> Any:
    call = jinja2.nodes.Call(jinja2.nodes.EnvironmentAttribute(name), [value], [], None, None)
    return call.set_lineno(value.lineno)


def _counted(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose result is counted."""
    passed = jinja2.utils._PassArg.from_obj(filter_)

    @jinja2.pass_context  # such filters are not run while a template is compiled
    def counted(context: Any, subject: Any = "", *args: Any, **kwargs: Any) -> Any:
        meter = _METER.get()
        if name == "join":
            subject = meter.joined(subject, (*args, *kwargs.values()))
        elif not isinstance(subject, (str, int, float)):
            meter.written(subject)
        meter.foresee(name, subject, args, kwargs)
        first = {
            jinja2.utils._PassArg.context: context,
            jinja2.utils._PassArg.eval_context: context.eval_ctx,
            jinja2.utils._PassArg.environment: context.environment,
        }
        before = () if passed is None else (first[passed],)
        return meter.made(filter_(*before, subject, *args, **kwargs))

    return counted


@jinja2.pass_context
def _finalized(context: Any, value: Any) -> Any:
    return _METER.get().measured(value)


class Generation(jinja2.ext.Extension):
    """`{% generation %} … {% endgeneration %}`, around the model's own words: read, and passed over."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Namespace(jinja2.utils.Namespace):
    """jinja2's namespace, without names that begin with an underscore. It is not written out: it may hold itself."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        jinja2.utils.Namespace.__init__(*args, **kwargs)
        for name in dict(*args[1:], **kwargs):
            _public(name)

    def __setitem__(self, name: str, value: Any) -> None:
        _public(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"


def _public(name: Any) -> None:
    if str(name).startswith("_"):
        raise jinja2.exceptions.SecurityError(f"the name {str(name)[:80]!r}")


def _raise_exception(message: Any) -> None:
    raise jinja2.exceptions.TemplateError(str(_measured(message)))


def _to_dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    return dict(*args, **kwargs)  # not the type, which has a way up


def _strftime_now(layout: str) -> str:
    if len(layout) > WIDEST:
        raise TooMuch("asks for a very long date")
    return datetime.datetime.now().strftime(layout)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    # jinja2's own writes & and < for HTML
    if separators is not None and sum(map(len, separators)) > 20:
        raise TooMuch("puts much between the values of JSON")
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    if indent is None:
        return encoder.encode(value)
    meter, parts = _METER.get(), []
    for part in encoder.iterencode(value):
        meter.charge(len(part))
        parts.append(part)
    return "".join(parts)
