"""The sandbox of chat templates, which are strangers' programs: jinja2's own, with bounds.

The sandbox limits a template to plain data and a few functions. The bounds limit how much it can do.
Each turn of a loop, each call, and each value that a template makes is counted, and the first that passes a bound ends
the run with an error:

    what                          bound
    turns of loops, and calls     1,000,000 and 16 for each character of the chat
    one value, written out        16 Mi characters and 16 for each character of the chat
    all values together           64 Mi characters, and 4 for each character and each value of the chat, 4 Gi at most
    calls within calls            100
    processor time                5 seconds

Values that one call can make large are measured before they are made: `'a' * n`, `'%9999d'`, `x|join(y)`.
A list of lists counts with its length when written out, however small it is in memory.

`rendering` imports this module only to render a template, since it imports jinja2.
"""

import collections.abc
import contextlib
import contextvars
import datetime
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jinja2.ext
import jinja2.filters
import jinja2.nodes
import jinja2.sandbox
import jinja2.utils
import jinja2.visitor

LONGEST_TEMPLATE = 500_000  # characters
_DEEPEST = 100
_SECONDS = 5.0
_WIDEST = 1000  # columns, digits, items of a batch
_BITS = 4096  # of an integer
_ITEM = 50  # characters that an item of a list counts for, beside its content

# Filters that no chat needs, and whose time grows with the square of a text.
_WITHOUT = ("pprint", "striptags", "urlize", "wordwrap", "xmlattr")
# Methods that can make large values in ways that are not foreseen here, or bytes.
_REFUSED = ("encode", "expandtabs", "maketrans", "to_bytes", "translate")
_WIDENING = ("batch", "center", "indent", "ljust", "rjust", "round", "slice", "tojson", "zfill")
_ITEMIZING = ("batch", "groupby", "list", "reverse", "slice", "sort", "unique")


class TooMuch(jinja2.exceptions.TemplateRuntimeError):
    """A template that passes a bound."""


class Meter:
    """Counts the steps and characters of one run of a template.

    Args:
        values: the variables of the template.
    """

    def __init__(self, values: Mapping[str, Any]):
        self._known: dict[int, tuple[Any, int]] = {}
        self._largest = 2**63
        characters = self.written(dict(values))
        self._largest = 2**24 + 16 * characters
        self._left = min(2**26 + 4 * characters * max(len(self._known), 1), 2**32)
        self._steps_left = 10**6 + 16 * characters
        self._depth, self._ticks = 0, 0
        self._end = time.thread_time() + _SECONDS

    def step(self, characters: int = 0) -> str:
        """Count a turn of a loop, or a call, which writes so many characters of the template itself."""
        self._steps_left -= 1
        if self._steps_left < 0:
            raise TooMuch("takes too many steps")
        self.charge(characters)
        return ""

    def charge(self, size: int) -> None:
        """Count so many characters."""
        self._left -= size
        if self._left < 0:
            raise TooMuch("makes too much text")
        self._ticks += 1
        if self._ticks % 16 == 0 and time.thread_time() > self._end:
            raise TooMuch(f"takes more than {_SECONDS:g} seconds")

    def check(self, size: int) -> None:
        """Refuse a value of so many characters."""
        if size > self._largest:
            raise TooMuch(f"makes a value of {size} characters")

    def written(self, value: Any) -> int:
        """The length of a value when written out. Each list is measured once, so that this takes no time."""
        if isinstance(value, str):
            return len(value)
        if isinstance(value, int):
            return value.bit_length() // 3 + 1
        if isinstance(value, (collections.abc.KeysView, collections.abc.ValuesView, collections.abc.ItemsView)):
            value = list(value)
        if not isinstance(value, (list, tuple, dict)):
            return 8
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        parts: Iterable[Any] = value
        if isinstance(value, dict):
            parts = [part for pair in value.items() for part in pair]
        size = 2 + sum(2 + self.written(part) for part in parts)
        self.check(size)
        self._known[id(value)] = value, size  # beside the value itself: no other gets its id meanwhile
        return size

    def made(self, value: Any) -> Any:
        """Count a value that the template made."""
        if isinstance(value, (str, bytes)):
            self.check(len(value))
            self.charge(len(value))
        elif isinstance(value, (list, tuple, dict)):
            self.written(value)
            self.charge(_ITEM * len(value))
        elif isinstance(value, int) and value.bit_length() > _BITS:
            raise TooMuch(f"makes an integer of {value.bit_length()} bits")
        else:
            self.charge(1)
        return value

    def measured(self, value: Any) -> Any:
        """Count a value that is about to be written."""
        size = self.written(value)
        self.check(size)
        self.charge(size)
        return value

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Count a call within those that are running."""
        if self._depth >= _DEEPEST:
            raise TooMuch(f"calls itself more than {_DEEPEST} times deep")
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def foresee(self, name: str, subject: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Refuse a method, or a filter, that would make too much of `subject`."""
        others = [*args, *named.values()]
        if name in _REFUSED:
            raise TooMuch(f"calls {name!r}")
        if name in _WIDENING and (wide := next(filter(_is_wide, others), None)) is not None:
            raise TooMuch(f"calls {name!r} with {str(wide)[:20]}")
        if name == "sum" and not all(isinstance(each, (int, float, str)) for each in others):
            raise TooMuch("adds up lists")
        if name in _ITEMIZING and isinstance(subject, str):
            self.check(_ITEM * len(subject))
        elif name in _FORESEEN:
            self.check(_FORESEEN[name](subject, others))
        elif name in ("format", "format_map"):
            self.check(self.formatted(str(subject), others))

    def joined(self, items: Any, others: Iterable[Any]) -> list[Any]:
        """The items to join, with any of the other arguments between them."""
        if isinstance(items, str):
            self.check(_ITEM * len(items))
        items = items if isinstance(items, (list, tuple)) else list(items)
        between = max((self.written(each) for each in others), default=0)
        self.check(self.written(items) + len(items) * between)
        return list(items)

    def repeated(self, value: Any, times: Any) -> int:
        """The characters of a text or a list, repeated; 0 for other values."""
        if not isinstance(value, (str, list, tuple)) or not isinstance(times, int):
            return 0
        return max(self.written(value), 1 if isinstance(value, str) else _ITEM) * times

    def formatted(self, layout: str, values: Any) -> int:
        """The most characters that a layout, of `%` or of `str.format`, becomes."""
        if re.search(r"%[^a-zA-Z%]*(\*|\d{4})|\{[^{}]*:[^{}]*(\{|\d{4})", layout):
            raise TooMuch("writes a value very wide")
        places = layout.count("%") + layout.count("{")
        return len(layout) + places * (_WIDEST + self.written(values))


def _is_wide(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > _WIDEST or isinstance(value, str) and len(value) > _WIDEST


def _replaced(subject: Any, others: list[Any]) -> int:
    text, (old, new) = str(subject), [*map(str, others), "", ""][:2]
    return len(text) + (text.count(old) if old else len(text) + 1) * len(new)


def _indented(subject: Any, others: list[Any]) -> int:
    widths = [len(each) if isinstance(each, str) else each for each in others if isinstance(each, (str, int))]
    return (str(subject).count("\n") + 1) * max(widths, default=4)


def _divided(subject: Any, others: list[Any]) -> int:
    separator = next((each for each in others if isinstance(each, str) and each), None)
    return _ITEM * (subject.count(separator) if separator else len(subject) // 2 + 1)


# The characters that a method, or a filter, makes of a subject and its other arguments, at most.
_FORESEEN = {
    "replace": _replaced,
    "indent": _indented,
    "split": _divided,
    "rsplit": _divided,
    "splitlines": _divided,
}


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
    """jinja2's sandbox, with what transformers gives to chat templates, within bounds."""

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
    if operator == "*" and left.bit_length() + right.bit_length() > _BITS:
        raise TooMuch("multiplies very large integers")
    if operator == "**" and left.bit_length() * abs(right) > _BITS:
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
    if len(layout) > _WIDEST:
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
