"""A chat says what reading all of it anew would say, and reads only what is new."""

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.generation import Reader, executors
from tests.layers.reference import fill
from tests.tasks.test_causal_lm import SENTENCES, decoder_alone

pytest.importorskip("jinja2")

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)

once = pytest.mark.one_backend("torch")  # what strings become is no matter of a backend


@pytest.fixture(scope="module")
def model():
    tokenizer = kt.Tokenizer.train(SENTENCES, vocabulary_size=320)
    tokenizer.add_tokens(["<system>", "<user>", "<assistant>"], special=True)
    tokenizer.chat_template = TEMPLATE
    return fill(decoder_alone(tokenizer.vocabulary_size, tokenizer, context_length=256), scale=0.6)


@pytest.fixture
def read(monkeypatch):
    """How many tokens each reply had to read."""
    counts, reading = [], Reader.read

    def read(self, token_ids, *args, **kwargs):
        counts.append(len(token_ids) - self.common(token_ids))
        return reading(self, token_ids, *args, **kwargs)

    monkeypatch.setattr(Reader, "read", read)
    return counts


def ids(model, messages, **options):
    return model.tokenizer.apply_chat_template(messages, tokenize=True, **options)


@pytest.mark.each_keras
def test_replies_are_those_to_the_whole_chat_read_anew(model, read):
    chat = model.chat(system="The cat sat.", max_new_tokens=10)
    for text in SENTENCES[:3]:
        reply = chat.send(text)
        messages = chat.messages[:-1]
        assert messages[-1] == {"role": "user", "content": text}
        assert chat.messages[-1] == {"role": "assistant", "content": reply}
        config = model.generation_config(max_new_tokens=10)
        anew = model.generate_ids([ids(model, messages, add_generation_prompt=True)], config)
        assert reply == model.tokenizer.decode(anew.token_ids[0])
        assert model.chat(messages, max_new_tokens=10).reply() == reply
    assert [message["role"] for message in chat.messages] == ["system", *["user", "assistant"] * 3]
    of_the_chat, whole = read[0::2], read[1::2]
    assert of_the_chat[0] == whole[0] and of_the_chat[2] < whole[2] / 2, "what was said must not be read again"


@pytest.mark.each_keras
def test_a_stream_joins_to_the_reply_and_may_be_left(model):
    reply = model.chat(max_new_tokens=12).send(SENTENCES[0])
    chat = model.chat(max_new_tokens=12)
    pieces = list(chat.stream(SENTENCES[0]))
    assert "".join(pieces) == reply == chat.messages[-1]["content"] and len(pieces) > 1
    left = model.chat(max_new_tokens=12)
    stream = left.stream(SENTENCES[0])
    first = next(stream)
    stream.close()
    assert left.messages[-1] == {"role": "assistant", "content": first}
    again = left.send(SENTENCES[1])
    config = model.generation_config(max_new_tokens=12)
    anew = model.generate_ids([ids(model, left.messages[:-1], add_generation_prompt=True)], config)
    assert again == model.tokenizer.decode(anew.token_ids[0])


@once
def test_messages_may_be_changed_and_settings_too(model):
    chat = model.chat(max_new_tokens=10)
    chat.send(SENTENCES[0])
    before = list(chat.messages)
    reply = chat.send(SENTENCES[1])
    chat.messages = before
    assert chat.send(SENTENCES[1]) == reply
    chat.messages = before
    assert reply.startswith(chat.send(SENTENCES[1], max_new_tokens=2))
    with pytest.raises(TypeError, match="Expected generation settings among"):
        model.chat(patience=2)


@once
def test_a_chat_that_outgrows_the_context_says_so_and_stays_as_it_was(model):
    chat = model.chat(max_new_tokens=4)
    chat.send(SENTENCES[0])
    before = list(chat.messages)
    with pytest.raises(ValueError, match="prompts of at most 256 tokens"):
        chat.send(SENTENCES[1] * 40)
    assert chat.messages == before
    assert chat.send(SENTENCES[0])


@pytest.mark.each_keras
def test_a_reader_gives_what_reading_anew_gives(model, read):
    config = model.generation_config(max_new_tokens=12)
    reader, random = model.reader(), np.random.default_rng(0)
    text = random.integers(5, 270, 40).tolist()
    for length, other in ((30, 0), (40, 0), (40, 0), (12, 0), (12, 3), (35, 20), (2, 0)):
        prompt = text[: length - other] + random.integers(5, 270, other).tolist()
        found = [int(token_id) for (token_id,) in reader.read(prompt, config).stream()]
        assert found == model.generate_ids([prompt], config).token_ids[0].tolist()
    assert read == [30, 10, 1, 1, 3, 26, 1]


@pytest.mark.one_backend
def test_few_compilations(model):
    def talk(sentences):
        before, chat = executors.compilations.copy(), model.chat(max_new_tokens=8)
        for text in sentences:
            chat.send(text)
        return executors.compilations - before

    talk(SENTENCES[:3])
    found = talk([*SENTENCES[2::-1], SENTENCES[0]])
    assert found["segment"] <= 2, "only for more room"
    assert found["prefill"] <= 6
    assert not talk(SENTENCES[:3])


@once
def test_tools_and_variables_reach_the_template(model):
    def weather(city: str):
        """The weather of a city.

        Args:
            city: Its name.
        """

    template = "{% if tools %}{{ tools[0].function.name }}{% endif %}{% if thinking %}think{% endif %}" + TEMPLATE
    before, model.tokenizer.chat_template = model.tokenizer.chat_template, template
    try:
        chat = model.chat(tools=[weather], template_variables={"thinking": True}, max_new_tokens=5)
        reply = chat.send(SENTENCES[0])
        prompt = ids(model, chat.messages[:-1], add_generation_prompt=True, tools=[weather], thinking=True)
        anew = model.generate_ids([prompt], model.generation_config(max_new_tokens=5))
        assert reply == model.tokenizer.decode(anew.token_ids[0])
    finally:
        model.tokenizer.chat_template = before


@once
def test_a_rendered_chat_is_a_prompt_when_its_special_tokens_are_parsed(model):
    messages, options = [{"role": "user", "content": SENTENCES[0]}], {"max_new_tokens": 8}
    prompt = model.tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    reply = model.chat(messages, **options).reply()
    assert model.generate(prompt, parse_special=True, **options) == reply
    assert model.generate([prompt] * 2, parse_special=True, **options) == [reply] * 2
    assert "".join(model.stream(prompt, parse_special=True, **options)) == reply
    before = model.tokenizer.start_token
    assert model.generate(before + prompt, parse_special=True, return_prompt=True, **options).startswith(before)


@once
def test_special_tokens_that_a_prompt_spells_are_warned_of_once(model, recwarn):
    def warned():
        return [each for each in recwarn.list if "a text spells" in str(each.message)]

    prompt = model.tokenizer.apply_chat_template([{"role": "user", "content": SENTENCES[0]}])
    for call in (model.generate, lambda text, **options: list(model.stream(text, **options)), model.score):
        options = {} if call == model.score else {"max_new_tokens": 2}
        call(SENTENCES[0], **options)
        call(prompt, parse_special=True, **options)
        assert not warned()
        with pytest.warns(UserWarning, match="that a text spells are read as text: '<user>', '</s>'. Give parse_spec"):
            call(prompt, **options)
        recwarn.clear()
    model.generate([prompt] * 3, max_new_tokens=2)
    assert [each.filename for each in warned()] == [__file__]


@once
def test_a_score_of_parsed_tokens_is_that_of_the_ids(model):
    prompt = model.tokenizer.apply_chat_template([{"role": "user", "content": SENTENCES[0]}])
    (token_ids,) = model.tokenizer.encode([prompt], parse_special=True)
    scores = model.score(prompt, parse_special=True, per_token=True)
    assert len(scores) == len(token_ids) and np.isnan(scores[0])
    inputs = {"token_ids": np.array([token_ids[:-1]]), "labels": np.array([token_ids[1:]])}
    wanted = np.asarray(keras.ops.convert_to_numpy(model.token_log_probabilities(inputs)))[0]
    np.testing.assert_allclose(scores[1:], wanted, rtol=1e-5)
    assert model.perplexity(prompt, parse_special=True) == pytest.approx(np.exp(-wanted.mean()), rel=1e-5)
