"""Chat templates by strangers: whatever one does, it ends soon, in little memory, as text or as a ValueError."""

import gc
import resource
import time

import pytest

from keras_transformers.tokenizers.chat import meter, rendering

pytestmark = pytest.mark.one_backend("torch")

CHAT = [{"role": "user", "content": "Hi there, what is the weather?"}]
NEST = "{% set ns = namespace(x=['a'], s='ab', n=3, d={'a': 1}) %}"
HOSTILE = {
    "text times number": "{{ 'a' * 10**10 }}",
    "number times text": "{{ 10**10 * 'a' }}",
    "list times number": "{{ ([0] * 10**10) | length }}",
    "tuple times number": "{{ ((0, 1) * 10**9) | length }}",
    "power": "{{ 10 ** 10 ** 10 }}{{ 10.5 ** 10 ** 9 }}",
    "power of powers": "{{ ((9 ** 999) ** 999) ** 999 }}",
    "squares": NEST + "{% for i in range(60) %}{% set ns.n = ns.n * ns.n %}{% endfor %}{{ ns.n }}",
    "printf width": "{{ '%1000000000d' % 1 }}",
    "printf precision": "{{ '%.1000000000f' % 1 }}",
    "printf star": "{{ '%*d' % (10**9, 1) }}",
    "printf of much": NEST + "{% set b = 'x' * 10**6 %}{{ ('%s' * 10**5) % b }}",
    "format filter": "{{ '%1000000000d' | format(1) }}",
    "format width": "{{ '{:1000000000}'.format(1) }}",
    "format nested width": "{{ '{:{}}'.format(1, 10**9) }}",
    "format many": "{{ ('{0}' * 10**6).format('x' * 10**6) }}",
    "format_map": "{{ '{a:1000000000}'.format_map({'a': 1}) }}",
    "center": "{{ 'a' | center(10**9) }}",
    "center of constants": "{{ 'a' | center(1000000000) }}",
    "center method": "{{ 'a'.center(10**9) }}",
    "ljust": "{{ 'a'.ljust(10**9) }}",
    "zfill": "{{ 'a'.zfill(10**9) }}",
    "expandtabs": "{{ ('\t' * 10**5).expandtabs(10**5) }}",
    "translate": "{{ ('a' * 10**6).translate({97: 'b' * 10**6}) }}",
    "to_bytes": "{{ (1).to_bytes(10**10, 'big') }}",
    "encode": "{{ ('a' * 10**6).encode() * 10**6 }}",
    "join": "{{ (range(100000) | list) | join('x' * 10**6) }}",
    "join method": "{{ ('x' * 10**6).join('a' * 10**6) }}",
    "join of generator": "{{ range(100000) | map('string') | join('x' * 10**6) }}",
    "replace": "{{ ('a' * 10**6) | replace('a', 'b' * 10**6) }}",
    "replace nothing": "{{ ('a' * 10**6).replace('', 'b' * 10**6) }}",
    "indent": "{{ ('a\n' * 10**6) | indent(10**6) }}",
    "indent with text": "{{ ('a\n' * 10**6) | indent('x' * 10**6) }}",
    "batch": "{{ [1] | batch(10**9, 'x') | list }}",
    "slice": "{{ [1] | slice(10**9) | list }}",
    "round": "{{ 2.5 | round(10**9, 'ceil') }}",
    "json indent": "{{ {'a': [1]} | tojson(indent=10**9) }}",
    "json separators": "{{ (range(100000) | list) | tojson(separators=('x' * 10**6, ':')) }}",
    "sum of lists": "{{ range(100000) | map('string') | map('list') | sum(start=[]) | length }}",
    "range in a list": "{% set l = range(10**9) | list %}{{ l | length }}",
    "nested loops": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "loops that write": "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
    "long text in a loop": "{% for i in range(99999) %}" + "x" * 10**5 + "{% endfor %}",
    "long text in a block": "{% set a %}{% for i in range(99999) %}" + "x" * 10**5 + "{% endfor %}{% endset %}{{ a }}",
    "doubling": NEST + "{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
    "doubling by tilde": NEST + "{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s | length }}",
    "doubling lists": NEST + "{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x | length }}",
    "lists in lists": NEST + "{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "lists in lists, as JSON": NEST + "{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
    "{{ ns.x | tojson }}",
    "tuples in tuples": NEST + "{% for i in range(99) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}",
    "dictionaries in dictionaries": NEST + "{% for i in range(99) %}{% set ns.d = {'a': ns.d, 'b': ns.d} %}{% endfor %}"
    "{{ ns.d == ns.d }}{{ ns.d.items() }}",
    "dict()": NEST + "{% for i in range(99) %}{% set ns.d = dict(a=ns.d, b=ns.d) %}{% endfor %}{{ ns.d }}",
    "lists in a deep list": NEST + "{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
    "recursive macro": "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "doubling macro": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "macro by call": "{% macro m() %}{{ caller() }}{% endmacro %}{% macro r() %}{% call m() %}{{ r() }}{% endcall %}"
    "{% endmacro %}{{ r() }}",
    "recursive loop": "{% for i in range(9) recursive %}{{ loop(range(9)) }}{% endfor %}",
    "recursive block": "{% block a %}{{ self.a() }}{% endblock %}",
    "doubling block": NEST + "{% set ns.n = 0 %}{% block a scoped %}{% set ns.n = ns.n + 1 %}{% if ns.n < 60 %}"
    "{{ self.a() }}{{ self.a() }}{% endif %}{% endblock %}",
    "slices kept": NEST + "{% set b = 'x' * 10**7 %}{% for i in range(99999) %}{% set ns.x = ns.x + [b[i:]] %}"
    "{% endfor %}",
    "text kept": NEST + "{% for i in range(99999) %}{% set ns.x = ns.x + ['x' * 10**6] %}{% endfor %}{{ ns.x|length }}",
    "list of a text": "{{ ('é' * 10**7) | list | length }}",
    "split": "{{ ('a ' * 10**7).split() | length }}{{ ('a,' * 10**7).split(',') | length }}",
    "sort": "{% for i in range(99999) %}{{ range(99999) | sort(reverse=true) | first }}{% endfor %}",
    "in": NEST + "{% set l = range(99999) | list %}{% for i in l %}{{ 'x' in l }}{% endfor %}",
    "select": "{% for i in range(99999) %}{{ range(99999) | select('none') | list | length }}{% endfor %}",
    "urlize": "{{ ('http://' * 10**5) | urlize }}",
    "striptags": "{{ ('<!--' * 10**5) | striptags }}",
    "wordwrap": "{{ ('a ' * 10**6) | wordwrap(1) }}",
    "pprint": "{{ messages | pprint }}",
    "xmlattr": "{{ {'a': 1} | xmlattr }}",
    "date": "{{ strftime_now('%A' * 10**6) }}",
    "message of an error": "{{ raise_exception('a' * 10**7) }}",
    "error with lists": NEST + "{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
    "{{ raise_exception(ns.x) }}",
    "namespace in itself": "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}{{ ns | tojson }}",
    "deep parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep lists": "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "deep conditions": "{% if 1 %}" * 500 + "x" + "{% endif %}" * 500,
    "deep loops": "{% for i in [1] %}" * 30 + "x" + "{% endfor %}" * 30,
    "long sum": "{{ 1" + " + 1" * 20000 + " }}",
    "long template": "x" * 10**6,
    "large integer": "{{ " + "9" * 6000 + " }}",
    "float overflow": "{{ 10.0 ** 400 }}",
    "attribute of nothing": "{{ nothing.at.all }}",
    "a call of nothing": "{{ nothing() }}",
    "a call of text": "{{ 'a'() }}",
    "no iterable": "{% for i in 1 %}{% endfor %}",
    "comparison": "{{ 'a' < 1 }}",
    "unknown filter": "{{ 1 | nothing }}",
    "unknown tag": "{% nothing %}",
    "not closed": "{% for i in messages %}",
    "a huge chain of filters": "{{ 'a'" + " | upper" * 20000 + " }}",
    "autoescape": "{% autoescape true %}{{ '<' * 10**7 }}{% endautoescape %}",
    "markup": "{{ ('<' * 10**6) | safe ~ ('&' * 10**6) | escape | forceescape | forceescape | forceescape }}",
    "filter block": "{% filter center(10**9) %}x{% endfilter %}",
    "cycle": "{% for i in range(99999) %}{{ loop.cycle('x' * 10**6, 'y' * 10**6) }}{% endfor %}",
    "items": NEST + "{% set d = dict(a='x' * 10**7) %}{% set t %}{% for i in range(9999) %}{{ d.items() }}{% endfor %}"
    "{% endset %}",
    "bit lengths": "{{ (1.5).as_integer_ratio() }}{{ (10).__class__ }}",
    "imported": "{% from 'x' import y %}",
    "extended": "{% extends 'x' %}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_ends_soon_and_small(name, monkeypatch, request):
    monkeypatch.setattr(meter, "SECONDS", 0.5)
    request.addfinalizer(gc.unfreeze)
    gc.freeze()  # what other tests left is not collected here, within the time of the template
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
    try:
        text = rendering.render(HOSTILE[name], CHAT)
    except ValueError as error:
        assert str(error).startswith("Expected ") and len(str(error)) < 2000
    else:
        assert len(text) < 2**25
    assert time.thread_time() - began < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # kB


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text times number", "got one that makes a value of 10000000000 characters"),
        ("nested loops", "got one that takes (too many steps|more than 0.5 seconds)"),
        ("recursive macro", "got one that calls itself more than 100 times deep"),
        ("select", "got one that takes more than 0.5 seconds"),
        ("doubling", "got one that makes (a value of .* characters|too much text)"),
        ("power of powers", "got one that raises an integer to a very large power"),
        ("squares", "got one that multiplies very large integers"),
        ("printf width", "got one that writes a value very wide"),
        ("center", "got one that calls 'center' with 1000000000"),
        ("translate", "got one that calls 'translate'"),
        ("sum of lists", "got one that adds up lists"),
        ("date", "got one that asks for a very long date"),
        ("json separators", "got one that puts much between the values of JSON"),
        ("long template", "Expected a chat template of at most 500000 characters, got 1000000"),
        ("deep parentheses", "got one that cannot be compiled"),
        ("message of an error", "got user: a{1000}$"),
    ],
)
def test_what_is_refused_is_said(name, message, monkeypatch):
    monkeypatch.setattr(meter, "SECONDS", 0.5)
    with pytest.raises(ValueError, match=message):
        rendering.render(HOSTILE[name], CHAT)


def test_long_chats_are_within_the_bounds():
    accumulating = (
        "{% set ns = namespace(text='', seen=[]) %}{% for m in messages %}{% set ns.seen = ns.seen + [m.role] %}"
        "{% set ns.text = ns.text ~ m.role ~ ': ' ~ m.content | trim | replace('a', 'b') ~ '\n' %}{% endfor %}"
        "{{ ns.text }}{{ ns.seen | length }}{{ messages | tojson(indent=4) | length }}"
    )
    long = [{"role": "user", "content": "Was it a car or a cat I saw? " * 40}] * 1000
    assert rendering.render(accumulating, long).count("user: Wbs it") == 1000
    one = [{"role": "user", "content": "a line\n" * 300_000}]
    assert len(rendering.render("{{ messages[0].content | indent(4) }}", one)) > 3_000_000
    assert len(rendering.render("{% for x in messages[0].content.split('\n') %}{{ x }}{% endfor %}", one)) == 1_800_000


def test_runs_do_not_count_together():
    template = "{% for i in range(40000) %}{% for j in range(5) %}x{% endfor %}{% endfor %}"
    assert [len(rendering.render(template, CHAT)) for _ in range(3)] == [200_000] * 3
