import json

import pytest

import keras_transformers as kt
from keras_transformers.tokenizers import chat

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
    several = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": CHATML}]
    path.write_text(json.dumps(config | {"chat_template": several}))
    assert kt.Tokenizer.load(tmp_path).chat_template == CHATML
    (tmp_path / "chat_template.jinja").write_bytes(b"{{ messages[0].content }}\r\n")
    loaded = kt.Tokenizer.load(tmp_path)
    assert loaded.chat_template == "{{ messages[0].content }}\r\n"
    assert loaded.files()["chat_template.jinja"] == b"{{ messages[0].content }}\r\n"
    loaded.chat_template = "mine"
    loaded.save(tmp_path)
    assert kt.Tokenizer.load(tmp_path).chat_template == "mine"


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
        assert chat.render("{{ " + name + " is defined }}", CHATS[0]) == "False"


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
