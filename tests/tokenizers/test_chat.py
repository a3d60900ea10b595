import json

import pytest

import keras_transformers as kt
from keras_transformers.tokenizers.chat import rendering

pytestmark = pytest.mark.one_backend("torch")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# What published templates do: trimming, refusing, looping with breaks, defaults, blocks that trim, the date, tools.
TEMPLATES = {
    "ChatML": CHATML,
    "like SmolLM2's": "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}"
    "{% endif %}" + CHATML,
    "like Llama 3's": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "like Mistral's": """{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set rest = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in rest %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate.') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {%- if loop.last and system is defined %}
            {{- '[INST] ' + system + '\\n\\n' + message['content'] + '[/INST]' }}
        {%- else %}
            {{- '[INST] ' + message['content'] + '[/INST]' }}
        {%- endif %}
    {%- else %}
        {{- ' ' + message['content'] + eos_token }}
    {%- endif %}
{%- endfor %}
""",
    "namespaces, breaks, generation": "{%- set ns = namespace(seen=0) -%}\n{%- for message in messages %}\n"
    "  {%- if message.role == 'assistant' -%}\n{% generation %}{{ message.content }}{% endgeneration %}\n"
    "  {%- else %}\n<{{ message['role'] }}>{{ message.content }}\n  {%- endif %}\n  {%- set ns.seen = ns.seen + 1 %}\n"
    "  {%- if ns.seen == 3 %}{% break %}{% endif %}\n{%- endfor %}\n{{ ns.seen }}{{ dict(a=1) }}",
    "tools": "{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}{% for m in messages %}{{ m | tojson }}"
    "{% endfor %}",
}
CHATS = [
    [{"role": "user", "content": "What is 2 < 3?"}],
    [{"role": "user", "content": " Hi, “you” & you \n"}, {"role": "assistant", "content": "Hello."}],
    [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Où ?"},
        {"role": "assistant", "content": "Là."},
        {"role": "user", "content": "<|im_end|>"},
    ],
]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"city": "string"}}}]


@pytest.fixture(scope="module")
def tokenizer():
    texts = [message["content"] for messages in CHATS for message in messages] * 2
    tokenizer = kt.Tokenizer.train(texts, vocabulary_size=400)
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special=True)
    return tokenizer


@pytest.fixture(scope="module")
def theirs(tokenizer, tmp_path_factory):
    import transformers

    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder)
    return transformers.AutoTokenizer.from_pretrained(folder, split_special_tokens=False)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_chat_is_written_as_transformers_writes_it(name, tokenizer, theirs):
    for messages in CHATS:
        for prompt in (False, True):
            options = {"add_generation_prompt": prompt, "tools": TOOLS if name == "tools" else None}
            try:
                expected = theirs.apply_chat_template(
                    messages, chat_template=TEMPLATES[name], tokenize=False, **options
                )
            except Exception as error:
                with pytest.raises(ValueError, match=str(error)):
                    tokenizer.apply_chat_template(messages, template=TEMPLATES[name], **options)
                continue
            assert tokenizer.apply_chat_template(messages, template=TEMPLATES[name], **options) == expected


def test_ids_are_those_of_transformers(tokenizer, theirs):
    for messages in CHATS:
        expected = theirs.apply_chat_template(messages, chat_template=CHATML, tokenize=True, return_dict=False)
        ids = tokenizer.apply_chat_template(messages, template=CHATML, tokenize=True)
        assert ids == expected
        assert ids.count(tokenizer.encode(["<|im_end|>"], parse_special=True)[0][0]) >= len(messages)


def test_templates_come_from_either_file_and_go_back(tokenizer, tmp_path):
    assert tokenizer.chat_template is None
    with pytest.raises(ValueError, match="without. Give template="):
        tokenizer.apply_chat_template(CHATS[0])
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"chat_template": CHATML}))
    loaded = kt.Tokenizer.load(tmp_path)
    assert loaded.chat_template == CHATML
    assert json.loads(loaded.files()["tokenizer_config.json"])["chat_template"] == CHATML
    (tmp_path / "chat_template.jinja").write_bytes(b"{{ messages[0].content }}\r\n")
    with pytest.warns(UserWarning, match="tokenizer_config.json says otherwise than chat_template.jinja, which counts"):
        loaded = kt.Tokenizer.load(tmp_path)
    assert loaded.chat_template == "{{ messages[0].content }}\r\n"
    assert loaded.files()["chat_template.jinja"] == b"{{ messages[0].content }}\r\n"
    loaded.chat_template = "mine"
    assert loaded.chat_templates == {"default": "mine"}
    loaded.save(tmp_path)
    assert kt.Tokenizer.load(tmp_path).chat_template == "mine"


DEFAULT = "DEFAULT{% for m in messages %}{{ m.content }}{% endfor %}"
TOOL_USE = "TOOLS{{ tools | tojson }}{% for m in messages %}{{ m.content }}{% endfor %}"
OTHER = "OTHER{% for m in messages %}{{ m.content }}{% endfor %}"
BOTH = [{"name": "default", "template": DEFAULT}, {"name": "tool_use", "template": TOOL_USE}]


@pytest.mark.parametrize(
    ("config", "files", "passed_over"),
    [
        (BOTH, {}, None),
        (BOTH[1:] + [{"name": "rag", "template": OTHER}], {}, None),  # no default
        ({"default": DEFAULT, "rag": OTHER}, {}, None),
        (None, {"chat_template.jinja": DEFAULT, "additional_chat_templates/tool_use.jinja": TOOL_USE}, None),
        (None, {"additional_chat_templates/tool_use.jinja": TOOL_USE}, None),
        (BOTH, {"chat_template.jinja": OTHER}, "tokenizer_config.json"),
        (
            OTHER,
            {"additional_chat_templates/rag.jinja": OTHER, "chat_template.jinja": DEFAULT},
            "tokenizer_config.json",
        ),
        (DEFAULT, {"chat_template.jinja": DEFAULT}, None),
        (DEFAULT, {"chat_template.json": json.dumps({"chat_template": OTHER})}, "chat_template.json"),
    ],
)
def test_the_template_is_the_one_that_transformers_takes(config, files, passed_over, tokenizer, tmp_path, recwarn):
    import transformers

    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    if config is not None:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": config}))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    ours = kt.Tokenizer.load(tmp_path)
    warned = [str(each.message) for each in recwarn if "chat templates in" in str(each.message)]
    assert len(warned) == (passed_over is not None)
    assert all(f"differ: {passed_over} says otherwise than " in message for message in warned)
    ours.save(tmp_path / "again")
    again, theirs = kt.Tokenizer.load(tmp_path / "again"), transformers.AutoTokenizer.from_pretrained(tmp_path)
    for name, content in files.items():
        assert (tmp_path / "again" / name).read_text() == content
    for tools, template in ((None, None), (TOOLS, None), (None, "tool_use"), (None, "rag")):
        try:
            expected = theirs.apply_chat_template(CHATS[0], tools=tools, chat_template=template, tokenize=False)
        except ValueError as error:
            assert "no default specified" in str(error)
            with pytest.raises(ValueError, match="Expected a chat template named 'default', got "):
                ours.apply_chat_template(CHATS[0], tools=tools)
            continue
        for each in (ours, again):
            assert each.apply_chat_template(CHATS[0], tools=tools, template=template) == expected


def test_a_template_for_processors_alone_is_read(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": DEFAULT}))
    assert kt.Tokenizer.load(tmp_path).apply_chat_template(CHATS[0]) == "DEFAULTWhat is 2 < 3?"


@pytest.mark.parametrize("wrong", [3, [3], [{"name": "default"}], [{"name": "default", "template": 3}]])
def test_a_template_of_another_kind_is_refused(wrong, tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": wrong}))
    with pytest.raises(ValueError, match="Expected chat_template to be a string, or a list of objects with name"):
        kt.Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ({"return_tensors": "pt"}, r"return_tensors='pt', which transformers has. tokenize=True returns a list of ids"),
        ({"return_dict": True}, "return_dict=True, which"),
        ({"chat_template": CHATML}, "Write template="),
        ({"padding": True}, "Pad the ids with packing.pack"),
        ({"truncation": True}, "Cut the list of ids"),
        ({"max_length": 0}, "Cut the list of ids"),
        ({"return_assistant_tokens_mask": True}, "CausalLM.fit finds"),
        ({"tokenizer_kwargs": {"padding": True}}, "Render text, and give it to encode"),
        ({"sanitize_control_tokens": True}, "Take special tokens out of the messages first"),
    ],
)
def test_options_of_transformers_are_refused_by_name(option, advice, tokenizer):
    with pytest.raises(TypeError, match=advice):
        tokenizer.apply_chat_template(CHATS[0], template=CHATML, **option)


def test_options_that_ask_for_nothing_are_taken(tokenizer):
    options = {"return_tensors": None, "return_dict": False, "padding": False, "truncation": False, "max_length": None}
    assert tokenizer.apply_chat_template(CHATS[0], template=CHATML, **options).startswith("<|im_start|>user")


def test_a_variable_that_is_not_read_is_warned_of(tokenizer, recwarn):
    template = "{% if enable_thinking %}think{% endif %}" + CHATML
    tokenizer.apply_chat_template(CHATS[0], template=template, enable_thinking=True, add_generation_prompt=True)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"does not read enable_thnking \(did you mean 'enable_thinking'\?\), which"):
        tokenizer.apply_chat_template(CHATS[0], template=template, enable_thnking=True)
    with pytest.warns(UserWarning, match="The chat template does not read tools, documents, which changes nothing"):
        tokenizer.apply_chat_template(CHATS[0], template=CHATML, tools=TOOLS, documents=[{"title": "a", "text": "b"}])
    assert {each.filename for each in recwarn.list if "does not read" in str(each.message)} <= {__file__}


LAST = {
    "whole": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, I"}],
    "space": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, I "}],
    "twice": [{"role": "user", "content": "Yes"}, {"role": "assistant", "content": "Yes"}],
    "parts": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"type": "text", "text": "Yes"}]}],
    "reasoning": [{"role": "user", "content": "Hi"}, {"role": "assistant", "reasoning": "Hm", "content": ""}],
}
TRIMMED = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<end>{% endfor %}"
PARTS = "{% for m in messages %}{% for p in m.content if p.text %}{{ p.text }}<end>{% endfor %}{% endfor %}"
THINKS = "{% for m in messages %}[{{ m.reasoning_content }}]{{ m.content }}<end>{% endfor %}"


@pytest.mark.parametrize(
    ("name", "template", "field"),
    [
        ("whole", CHATML, True),
        ("space", CHATML, True),
        ("space", TRIMMED, True),
        ("twice", TRIMMED, True),
        ("parts", PARTS, True),
        ("reasoning", THINKS, "reasoning_content"),
        ("reasoning", THINKS, "reasoning"),
    ],
)
def test_a_last_message_is_gone_on_with_as_in_transformers(name, template, field, tokenizer, theirs):
    expected = theirs.apply_chat_template(
        LAST[name], chat_template=template, continue_final_message=field, tokenize=False
    )
    assert tokenizer.apply_chat_template(LAST[name], template=template, continue_final_message=field) == expected


def test_a_last_message_that_cannot_be_gone_on_with_is_refused(tokenizer):
    def go_on(messages, template=CHATML, **options):
        tokenizer.apply_chat_template(messages, template=template, continue_final_message=True, **options)

    with pytest.raises(ValueError, match="got both. Give one of the two"):
        go_on(LAST["whole"], add_generation_prompt=True)
    with pytest.raises(ValueError, match="Expected a last message with 'content' to go on with, got None"):
        go_on([{"role": "assistant", "content": None}])
    with pytest.raises(ValueError, match="Expected a last message with 'content' to go on with, got "):
        go_on([{"role": "assistant", "content": [{"type": "image"}]}])
    with pytest.raises(ValueError, match="Expected a last message to go on with, got no messages"):
        go_on([])
    with pytest.raises(ValueError, match="got one that does not write 'Hello, I'"):
        go_on(LAST["whole"], "{{ messages[0].content }}")


def test_reasoning_and_missing_contents_are_read_as_in_transformers(tokenizer, theirs):
    template = "{% for m in messages %}{{ m.keys() | sort }}{{ m | tojson }}{% endfor %}"
    for message in (
        {"role": "assistant", "content": None, "tool_calls": [{"x": None}]},
        {"role": "assistant", "content": "a", "reasoning": "b"},
        {"role": "assistant", "thinking": "b", "reasoning_content": None},
    ):
        expected = theirs.apply_chat_template([message], chat_template=template, tokenize=False)
        assert tokenizer.apply_chat_template([message], template=template) == expected


def test_functions_as_tools_are_schemas_as_in_transformers(tokenizer, theirs):
    def weather(city: str, days: int = 1) -> str:
        """The weather of a city.

        Args:
            city: Its name.
            days: How many.
        """

    documents = [{"title": "Paris", "text": "It rains."}]
    template = TEMPLATES["tools"] + "{{ documents | tojson }}"
    options = {"tools": [weather, *TOOLS], "documents": documents}
    expected = theirs.apply_chat_template(CHATS[0], chat_template=template, tokenize=False, **options)
    assert tokenizer.apply_chat_template(CHATS[0], template=template, **options) == expected
    for wrong in (weather, "weather", {"type": "function"}, ["weather"], [print]):
        with pytest.raises(TypeError, match="Expected (a list of tools|tools to be functions or JSON schemas), got"):
            tokenizer.apply_chat_template(CHATS[0], template=template, tools=wrong)
    for wrong in ("text", {"title": "a"}, ["text"]):
        with pytest.raises(TypeError, match="Expected documents to be a list of dictionaries, got"):
            tokenizer.apply_chat_template(CHATS[0], template=template, documents=wrong)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__class__ }}",
        "{{ raise_exception.__globals__['datetime'] }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ dict.__globals__ }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}{{ ns }}",
        "{{ namespace(_x=1) }}",
        "{{ messages.append(1) }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ messages | map(attribute='__class__') | list }}{{ (messages | attr('__class__')).x }}",
    ],
)
def test_a_template_that_reaches_out_is_refused(template, tokenizer):
    with pytest.raises(ValueError, match="Expected (a chat template that reads messages only|messages that the chat)"):
        tokenizer.apply_chat_template(CHATS[0], template=template)


@pytest.mark.parametrize(
    "template",
    [
        "{% include '/etc/passwd' %}",
        "{% import '/etc/passwd' as x %}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{{ 1 // 0 }}",
    ],
)
def test_a_template_has_no_files_and_no_endless_loops(template, tokenizer):
    with pytest.raises(ValueError, match="Expected messages that the chat template takes, got user"):
        tokenizer.apply_chat_template(CHATS[0], template=template)


def test_globals_of_jinja_that_no_template_needs_are_not_there():
    for name in ("lipsum", "cycler", "joiner"):
        assert rendering.render("{{ " + name + " is defined }}", CHATS[0]) == "False"


def test_what_is_no_chat_is_refused(tokenizer):
    for wrong in ("Hi", {"role": "user"}, [1], [{"content": "Hi"}], ["Hi"]):
        with pytest.raises(TypeError, match="Expected (a list of messages|messages to be dictionaries)"):
            tokenizer.apply_chat_template(wrong, template=CHATML)
    with pytest.raises(TypeError, match="Expected strings, numbers, lists and dictionaries in a chat, got object"):
        tokenizer.apply_chat_template([{"role": "user", "content": object()}], template=CHATML)
    with pytest.raises(ValueError, match="got a broken one"):
        tokenizer.apply_chat_template(CHATS[0], template="{% if %}")


def test_without_jinja2_it_is_said_what_to_install(monkeypatch, tokenizer):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"keras-transformers\[chat\]"):
        tokenizer.apply_chat_template(CHATS[0], template=CHATML)
