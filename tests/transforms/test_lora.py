"""Adapters beside dense layers: what they compute, what trains, and PEFT's files in and out."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.formats import safetensors_files
from keras_transformers.transforms import add_lora, load_lora, merge_lora, remove_lora, save_lora
from keras_transformers.transforms.lora import LoraDense
from keras_transformers.transforms.sublayers import named_sublayers
from tests.conformance import checkpoints as conformance
from tests.layers.reference import relative_error
from tests.tasks import checkpoints
from tests.transforms.models import TOKEN_IDS, classifier, generated, outputs, step, translator, with_numbers

# Files and messages are the same on every backend.
once = pytest.mark.one_backend("torch")


def adapters(model):
    return named_sublayers(model, LoraDense)


def values(weights):
    return {weight.path: np.array(ops.convert_to_numpy(weight)) for weight in weights}


# --- what they compute, and what trains ---


@pytest.mark.each_keras
def test_adapters_begin_without_effect_and_a_low_rank_product_follows():
    model = classifier()
    plain = outputs(model)
    add_lora(model, rank=4, alpha=8, targets="all", seed=0)
    assert len(adapters(model)) == 2 * 6 + 1  # two blocks and the pooler are the body of the recipe
    np.testing.assert_allclose(outputs(model), plain, atol=1e-6)
    layer = with_numbers(model).backbone.encoder.blocks[0].self_attention.query
    x = np.random.default_rng(1).normal(size=(2, 5, 32)).astype("float32")
    kernel, bias, a, b = (
        ops.convert_to_numpy(each)
        for each in (layer.base.kernel, layer.base.bias, layer.lora_A.kernel, layer.lora_B.kernel)
    )
    assert relative_error(layer(x), x @ kernel + bias + 2.0 * (x @ a) @ b) <= 1e-5
    assert np.abs(outputs(model) - plain).max() > 1e-2


def test_adapters_and_the_head_train_and_nothing_else():
    model = classifier()
    add_lora(model, rank=2, targets=("query", "feed_forward.up"))
    before = values(model.weights)
    trained = {weight.path for weight in model.trainable_variables}
    assert {path for path in trained if "lora" not in path} == {"classifier/kernel", "classifier/bias"}
    assert sum("lora" in path for path in trained) == 2 * 2 * 2
    model.compile(keras.optimizers.Adam(1e-2))
    assert step(model) > step(model) * 1.01
    step(model)
    changed = {path for path, value in values(model.weights).items() if (value != before[path]).any()}
    assert changed - {path for path in changed if "seed" in path} == trained


@once
def test_layers_trained_whole_are_said():
    model = classifier()
    add_lora(model, train=("block_1.feed_forward",))
    whole = {weight.path for weight in model.trainable_variables if "lora" not in weight.path}
    assert whole == {
        f"encoder/block_1/feed_forward/{layer}/{leaf}" for layer in ("up", "down") for leaf in ("kernel", "bias")
    }
    model = classifier()
    add_lora(model, train=())
    assert all("lora" in weight.path for weight in model.trainable_variables)


def test_removed_adapters_leave_the_model_as_it_was():
    model = classifier()
    model.freeze(embeddings=True)
    plain, trainable = outputs(model), [weight.path for weight in model.trainable_variables]
    names = [weight.path for weight in model.weights]
    add_lora(model, targets="all")
    with_numbers(model)
    remove_lora(model)
    np.testing.assert_array_equal(outputs(model), plain)
    assert [weight.path for weight in model.trainable_variables] == trainable
    assert [weight.path for weight in model.weights] == names
    add_lora(model, rank=3)  # and again
    assert {each.rank for each in adapters(model).values()} == {3}


@pytest.mark.each_keras
def test_a_merged_model_computes_the_same_with_plain_layers():
    model = classifier()
    add_lora(model, rank=3, alpha=5, targets="all")
    expected = outputs(with_numbers(model))
    merge_lora(model)
    assert relative_error(outputs(model), expected) <= 1e-5
    assert not adapters(model) and [weight.path for weight in model.weights] == [
        weight.path for weight in classifier().weights
    ]


@once
def test_rank_stabilised_adapters_are_scaled_by_the_root():
    model = classifier()
    add_lora(model, rank=16, alpha=8, rank_stabilised=True)
    assert {each.scale for each in adapters(model).values()} == {2.0}


@once
def test_dropout_is_for_training_alone():
    model = classifier()
    add_lora(model, dropout=0.5, targets="all")
    with_numbers(model, scale=0.5)
    np.testing.assert_array_equal(outputs(model), outputs(model))
    inputs = {"token_ids": TOKEN_IDS}
    first, second = (ops.convert_to_numpy(model(inputs, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


@once
@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16", "float16"])
def test_adapters_of_half_precision_keep_float32_weights(dtype):
    model = classifier(dtype=dtype)
    add_lora(model)
    with_numbers(model)
    compute = dtype.removeprefix("mixed_")
    assert {each.lora_A.kernel.dtype for each in adapters(model).values()} == {"float32"}
    assert model({"token_ids": TOKEN_IDS}).dtype == getattr(__import__("torch"), compute)


@once
def test_the_same_seed_begins_the_same_and_each_layer_for_itself():
    begun = []
    for _ in range(2):
        model = classifier()
        add_lora(model, seed=5)
        begun.append([ops.convert_to_numpy(each.lora_A.kernel) for each in adapters(model).values()])
    assert all((a == b).all() for a, b in zip(*begun, strict=True))
    assert len({array.tobytes() for array in begun[0]}) == len(begun[0])
    assert max(np.abs(array).max() for array in begun[0]) <= 32**-0.5  # as PEFT begins: uniform in ±1/√in


# --- generation ---


@pytest.mark.each_keras
@pytest.mark.parametrize("num_beams", [1, pytest.param(3, marks=once)])
def test_generation_sees_adapters_come_and_go(num_beams):
    model = translator()
    plain = generated(model, num_beams=num_beams)
    add_lora(model, rank=4, targets="all")
    np.testing.assert_array_equal(generated(model, num_beams=num_beams), plain)
    with_numbers(model, scale=0.4)
    adapted = generated(model, num_beams=num_beams)
    assert not np.array_equal(adapted, plain)
    scales = [(each.lora_B.kernel, ops.convert_to_numpy(each.lora_B.kernel)) for each in adapters(model).values()]
    for kernel, array in scales:
        kernel.assign(array * 0.0)
    np.testing.assert_array_equal(generated(model, num_beams=num_beams), plain)
    for kernel, array in scales:
        kernel.assign(array)
    merge_lora(model)
    np.testing.assert_array_equal(generated(model, num_beams=num_beams), adapted)


@once
def test_the_direct_view_calls_no_layer_of_keras():
    from keras_transformers.backends.torch.direct import Direct, direct

    model = translator()
    add_lora(model, targets=("query",), dropout=0.1)
    layer = with_numbers(model).backbone.decoder.blocks[0].self_attention.query
    view = direct(layer)
    assert isinstance(view, Direct)
    x = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(2, 1, 32)), "float32")
    np.testing.assert_allclose(view(x).detach().numpy(), layer(x).detach().numpy(), atol=1e-6)
    parts = (view.base, view.lora_A, view.lora_B, view.dropout)
    assert not any(isinstance(part, keras.layers.Layer) for part in parts)


# --- our own files ---


@once  # with every backend after `test_adapters_train_on_a_quantized_base`
def test_a_keras_file_keeps_adapters_and_goes_on_training(tmp_path):
    model = classifier()
    add_lora(model, rank=2, alpha=6, targets=("query", "down"), seed=3)
    with_numbers(model)
    model.compile(keras.optimizers.Adam(1e-2))
    step(model)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(outputs(again), outputs(model), atol=1e-6)
    assert [weight.path for weight in again.trainable_variables] == [
        weight.path for weight in model.trainable_variables
    ]
    for _ in range(2):
        assert step(again) == pytest.approx(step(model), rel=1e-5)


def test_a_backbone_is_adapted_and_saved_too(tmp_path):
    backbone = classifier().backbone
    add_lora(backbone, targets="all")
    with_numbers(backbone)
    backbone.save(tmp_path / "backbone.keras")
    again = keras.saving.load_model(tmp_path / "backbone.keras")
    np.testing.assert_allclose(
        ops.convert_to_numpy(again(TOKEN_IDS)), ops.convert_to_numpy(backbone(TOKEN_IDS)), atol=1e-6
    )


@once
def test_a_preset_holds_the_merged_weights_and_the_model_stays_adapted(tmp_path):
    folder = conformance.folder("bert/BertForSequenceClassification")
    model = kt.TextClassifier.from_preset(folder)
    add_lora(model, targets="all")
    expected = outputs(with_numbers(model))
    model.save_to_preset(tmp_path / "preset")
    assert json.loads((tmp_path / "preset/config.json").read_text())["model_type"] == "bert"
    plain = kt.TextClassifier.from_preset(tmp_path / "preset")
    assert not adapters(plain) and relative_error(outputs(plain), expected) <= 1e-5
    assert adapters(model) and (outputs(model) == expected).all()


@once
def test_room_for_more_tokens_keeps_the_adapters():
    model = translator()
    add_lora(model, targets="all")
    expected = outputs(with_numbers(model))
    larger = model.with_vocabulary(80)
    assert len(adapters(larger)) == len(adapters(model))
    assert relative_error(outputs(larger)[..., :67], expected) <= 1e-5


@once
def test_a_model_of_no_family_has_adapters_by_our_names(tmp_path):
    model = translator()
    add_lora(model, rank=2, targets=("cross_attention.query", "up"), train=("decoder.block_0.feed_forward.down",))
    expected = outputs(with_numbers(model))
    save_lora(model, tmp_path / "adapter")
    again = translator()
    load_lora(again, tmp_path / "adapter")
    assert relative_error(outputs(again), expected) <= 1e-6
    assert [weight.path for weight in again.trainable_variables] == [
        weight.path for weight in model.trainable_variables
    ]
    save_lora(again, tmp_path / "adapter")  # in the place of the other
    names = list(safetensors_files.read_tensors(tmp_path / "adapter/adapter_model.safetensors"))
    assert "base_model.model.decoder.block_0.cross_attention.query.lora_A.weight" in names


# --- PEFT's files ---


@pytest.fixture
def peft():
    """Imported late: it imports PyTorch and transformers, on backends that run none of these tests."""
    return pytest.importorskip("peft", reason="PEFT is not installed")


def their_model(name):
    import transformers

    head = conformance.CHECKPOINTS[name][1]
    return getattr(transformers, head.architecture).from_pretrained(conformance.folder(name)).eval()


def their_outputs(model, name):
    import torch

    with torch.no_grad():
        found = model(torch.tensor(TOKEN_IDS).long())
    if name.endswith("QuestionAnswering"):
        return np.stack([found.start_logits.numpy(), found.end_logits.numpy()], axis=-1)
    return found[0].numpy()


NAMES = [
    "bert/BertForSequenceClassification",
    "bert/BertForMaskedLM",
    "bert/BertModel",
    "roberta/RobertaForSequenceClassification",
    "distilbert/DistilBertForTokenClassification",
    "electra/ElectraForQuestionAnswering",
    "albert/AlbertForSequenceClassification",
    "modernbert/ModernBertForSequenceClassification",
    # Several of ours are one over there: side by side in another orientation, head by head, group by group.
    "gpt2/GPT2LMHeadModel",
    "gpt_neox/GPTNeoXForTokenClassification",
    "falcon-grouped/FalconForCausalLM",
    "phi3/Phi3ForCausalLM",
    "qwen2/Qwen2ForCausalLM",
]


@once
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_peft_computes_what_our_adapters_do(name, tmp_path, peft):
    model = conformance.load(conformance.folder(name), conformance.CHECKPOINTS[name][1])
    add_lora(model, rank=4, alpha=12, targets="all")
    with_numbers(model)
    for weight in model.trainable_variables:
        if "lora" not in weight.path:  # what is trained whole
            weight.assign(weight + 0.1)
    save_lora(model, tmp_path / "ours")
    theirs = peft.PeftModel.from_pretrained(their_model(name), tmp_path / "ours").eval()
    assert relative_error(outputs(model), their_outputs(theirs, name)) <= 1e-5
    # and what PEFT writes of it comes back equal to the bit
    theirs.save_pretrained(tmp_path / "theirs")
    again = conformance.load(conformance.folder(name), conformance.CHECKPOINTS[name][1])
    load_lora(again, tmp_path / "theirs")
    ours, back = values(model.trainable_variables), values(again.trainable_variables)
    assert ours.keys() == back.keys() and all((back[path] == ours[path]).all() for path in ours)
    assert relative_error(outputs(again), outputs(model)) <= 1e-6


@once
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["gpt2/GPT2LMHeadModel", "gpt_neox/GPTNeoXForCausalLM", "falcon-grouped/FalconForCausalLM"]
)
def test_an_adapter_of_a_fused_layer_is_ours_to_the_bit(name, tmp_path, peft):
    import torch

    options = {"target_modules": "all-linear", "r": 3}
    theirs = peft.get_peft_model(their_model(name), peft.LoraConfig(**options)).eval()
    with torch.no_grad():
        for _, weight in [each for each in theirs.named_parameters() if "lora_B" in each[0]]:
            weight.add_(torch.randn_like(weight) * 0.1)
    theirs.save_pretrained(tmp_path / "theirs")
    model = conformance.load(conformance.folder(name), conformance.CHECKPOINTS[name][1])
    load_lora(model, tmp_path / "theirs")
    assert relative_error(outputs(model), their_outputs(theirs, name)) <= 1e-5
    save_lora(model, tmp_path / "ours")
    ours, back = (
        safetensors_files.read_tensors(tmp_path / each / "adapter_model.safetensors") for each in ("theirs", "ours")
    )
    assert set(ours) == set(back) and all((ours[each] == back[each]).all() for each in ours)


@once
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": "all-linear", "r": 3, "lora_alpha": 8, "use_rslora": True, "task_type": "SEQ_CLS"},
        {
            "target_modules": ["query", "output.dense"],
            "r": 4,
            "rank_pattern": {"layer.1.attention.self.query": 2, "^bert.encoder.layer.0.output.dense": 6},
            "alpha_pattern": {"query": 20},
            "lora_dropout": 0.1,
            "exclude_modules": ["bert.encoder.layer.2.output.dense"],
        },
        {"target_modules": ["key"], "layers_to_transform": [1], "modules_to_save": ["classifier"]},
    ],
    ids=["all-linear", "patterns", "some"],
)
def test_our_model_computes_what_pefts_adapters_do(options, tmp_path, peft):
    import torch

    name = NAMES[0]
    theirs = peft.get_peft_model(their_model(name), peft.LoraConfig(**options)).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for _, weight in [each for each in theirs.named_parameters() if each[1].requires_grad]:
            weight.add_(torch.randn_like(weight) * 0.2)
    theirs.save_pretrained(tmp_path)
    model = conformance.load(conformance.folder(name), conformance.CHECKPOINTS[name][1])
    load_lora(model, tmp_path)
    assert relative_error(outputs(model), their_outputs(theirs, name)) <= 1e-5
    assert len(model.trainable_variables) == sum(weight.requires_grad for weight in theirs.parameters())


@once
@pytest.mark.filterwarnings("ignore")
def test_fit_trains_adapters_as_peft_does(tmp_path, peft):
    """The same batches in the same order, from the same adapters: the same adapters."""
    import torch

    settings = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    reference = checkpoints.save(tmp_path / "base", "BertForSequenceClassification", **settings)
    config = peft.LoraConfig(target_modules=["query", "value"], r=4, lora_alpha=8, task_type="SEQ_CLS")
    reference = peft.get_peft_model(reference, config)
    reference.save_pretrained(tmp_path / "begin")
    model = kt.TextClassifier.from_preset(tmp_path / "base")
    load_lora(model, tmp_path / "begin")
    begin = values(model.trainable_variables)
    tokenizer = checkpoints.tokenizer_of(tmp_path / "base")
    texts, labels = checkpoints.TEXTS * 4, [0, 1] * 12
    model.compile(keras.optimizers.SGD(0.05))
    model.fit(texts, labels, batch_size=4, num_buckets=1, shuffle=False, verbose=0)

    optimizer = torch.optim.SGD([weight for weight in reference.parameters() if weight.requires_grad], lr=0.05)
    for first in range(0, len(texts), 4):
        encoded = tokenizer(texts[first : first + 4], padding=True, return_tensors="pt")
        reference(**encoded, labels=torch.tensor(labels[first : first + 4])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    reference.save_pretrained(tmp_path / "end")
    expected = kt.TextClassifier.from_preset(tmp_path / "base")
    load_lora(expected, tmp_path / "end")
    ours, theirs = values(model.trainable_variables), values(expected.trainable_variables)
    for path, array in theirs.items():
        moved = np.abs(array - begin[path]).max()
        assert moved > 0 and np.abs(ours[path] - array).max() < 1e-3 * moved, path


# --- what is refused ---


@once
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "Expected a rank of at least 1, alpha above 0 and dropout in .* got rank=0"),
        ({"alpha": 0}, "alpha=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"targets": ("q_proj", "value", "v_proj")}, "such as .*query, up, value, got 'q_proj', 'v_proj'"),
        ({"targets": ()}, "Expected targets to name layers .* got none"),
        ({"targets": ("query", "token")}, "got 'token'"),
        ({"train": ("clasifier",)}, "Expected train to name .*classifier.*, got 'clasifier'"),
        ({"targets": ("query", "classifier")}, "got both for classifier"),
    ],
)
def test_what_no_model_can_have(options, message):
    model = classifier()
    with pytest.raises(ValueError, match=message):
        add_lora(model, **options)
    assert not adapters(model) and len(model.trainable_variables) == len(classifier().trainable_variables)


@once
def test_adapters_come_once_and_go_once(tmp_path):
    model = classifier()
    for function in (merge_lora, remove_lora):
        with pytest.raises(ValueError, match="Expected a model with adapters, got a TextClassifier without"):
            function(model)
    with pytest.raises(ValueError, match="Expected a model with adapters"):
        save_lora(model, tmp_path / "adapter")
    add_lora(model)
    with pytest.raises(ValueError, match="Expected a model without adapters"):
        add_lora(model)
    with pytest.raises(ValueError, match="Expected a model without adapters"):
        load_lora(model, tmp_path)
    with pytest.raises(ValueError, match="beside which all is frozen"):
        model.freeze()
    with pytest.raises(TypeError, match="Expected a task or a Backbone, got Dense"):
        add_lora(keras.layers.Dense(2))


@once
def test_a_folder_of_something_else_stays(tmp_path):
    model = classifier()
    add_lora(model)
    model.save_to_preset(tmp_path / "preset")
    with pytest.raises(FileExistsError, match="a folder without adapter_config.json"):
        save_lora(model, tmp_path / "preset")
    save_lora(model, tmp_path / "adapter")
    (tmp_path / "adapter/README.md").write_text("mine")
    save_lora(model, tmp_path / "adapter")
    assert (tmp_path / "adapter/README.md").read_text() == "mine"


@pytest.fixture
def adapter(tmp_path):
    """The folder of an adapter of a small BERT, and a function that changes its configuration and tensors."""
    model = conformance.load(conformance.folder(NAMES[0]), conformance.CHECKPOINTS[NAMES[0]][1])
    add_lora(model, rank=4)
    save_lora(model, tmp_path / "adapter", base_model="org/base")
    folder = tmp_path / "adapter"

    def change(settings=None, tensors=None):
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | (settings or {})))
        arrays = dict(safetensors_files.read_tensors(folder / "adapter_model.safetensors"))
        for name, array in (tensors or {}).items():
            arrays.pop(name) if array is None else arrays.update({name: array})
        safetensors_files.write_tensors(folder / "adapter_model.safetensors", arrays)
        return folder

    return change


def other(name=NAMES[0]):
    return conformance.load(conformance.folder(name), conformance.CHECKPOINTS[name][1])


@once
def test_options_that_compute_something_else_are_refused_by_name(adapter):
    settings = {
        "peft_type": "LOHA",
        "use_dora": True,
        "bias": "lora_only",
        "lora_bias": True,
        "init_lora_weights": "pissa",
        "trainable_token_indices": [3],
        "something_new": {"x": 1},
        "another_new": False,
    }
    with pytest.raises(ValueError, match="made for org/base, does not fit this TextClassifier") as error:
        load_lora(other(), adapter(settings))
    for name in set(settings) - {"another_new"}:
        assert f"\n  {name}: expected " in str(error.value)
    assert "another_new" not in str(error.value)


@once
def test_all_that_does_not_fit_is_said_at_once(adapter):
    query = "base_model.model.bert.encoder.layer.{}.attention.self.query.{}.weight"
    folder = adapter(
        tensors={
            query.format(0, "lora_A"): np.zeros((4, 30), "float32"),
            query.format(1, "lora_B"): None,
            query.format(7, "lora_A"): np.zeros((4, 32), "float32"),
            query.format(7, "lora_B"): np.zeros((32, 4), "float32"),
            "base_model.model.classifier.weight": np.zeros((5, 32), "float32"),
            "base_model.model.bert.encoder.layer.0.extra.weight": np.zeros(3, "float32"),
            "base_model.model.bert.embeddings.word_embeddings.lora_embedding_A": np.zeros((4, 67), "float32"),
        }
    )
    model = other()
    before = values(model.weights)
    with pytest.raises(ValueError, match="does not fit") as error:
        load_lora(model, folder)
    for told in (
        r"bert.encoder.layer.0.attention.self.query: expected lora_A [4, 32], lora_B [32, 4], got lora_A [4, 30]",
        r"bert.encoder.layer.1.attention.self.query: expected lora_A [4, 32], lora_B [32, 4], got lora_A [4, 32], "
        "lora_B missing",
        "no layer bert.encoder.layer.7.attention.self.query (did you mean 'bert.encoder.layer.",
        "classifier.kernel: expected shape [32, 3], got [32, 5]",
        "no weight bert.encoder.layer.0.extra.weight [3]",
        "bert.embeddings.word_embeddings.lora_embedding_A: only lora_A and lora_B of linear layers are supported",
    ):
        assert told in str(error.value)
    assert all((array == before[path]).all() for path, array in values(model.weights).items()) and not adapters(model)


@once
@pytest.mark.filterwarnings("default:The model has no place for classifier")
def test_an_adapter_of_another_model_is_refused(adapter):
    folder = adapter()
    with pytest.raises(ValueError, match="no layer bert.encoder.layer.0.attention.self.query"):
        load_lora(other("roberta/RobertaForSequenceClassification"), folder)


@once
def test_a_head_that_the_model_has_not_is_left_out_with_a_warning(adapter):
    model = other("bert/BertForMaskedLM")
    with pytest.warns(UserWarning, match="no place for classifier.bias, classifier.weight: left out"):
        load_lora(model, adapter())
    assert len(adapters(model)) == 4


@once
def test_files_that_are_not_there(adapter, tmp_path):
    folder = adapter()
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="Expected adapter_model.safetensors in .*safe_serialization"):
        load_lora(other(), folder)
    with pytest.raises(FileNotFoundError, match="Expected adapter_config.json in"):
        load_lora(other(), conformance.folder(NAMES[0]))
