import numpy as np
import pytest

from keras_transformers.families.weight_map import Entry, WeightMap

pytestmark = pytest.mark.one_backend

TABLE = WeightMap(
    (
        Entry("embedding.token", "embeddings.word_embeddings"),
        Entry(tuple(f"encoder.block_{{n}}.self_attention.{part}" for part in ("query", "key", "value")), "h.{n}.qkv"),
        Entry("encoder.block_{n}.feed_forward.up", "h.{n}.mlp.c_fc", transposed=False),
        Entry("encoder.norm", "ln_f"),
    ),
    ignored=("embeddings.position_ids", "h.{n}.attn.masked_bias"),
)


def ours():
    random = np.random.default_rng(0)
    shapes = {"embedding.token.embeddings": (9, 4), "encoder.norm.gamma": (4,), "encoder.norm.beta": (4,)}
    for n in range(12):
        block = f"encoder.block_{n}"
        for part, width in (("query", 8), ("key", 2), ("value", 2)):  # grouped heads: of different widths
            shapes |= {
                f"{block}.self_attention.{part}.kernel": (4, width),
                f"{block}.self_attention.{part}.bias": (width,),
            }
        shapes[f"{block}.feed_forward.up.kernel"] = (4, 6)
    return {name: random.normal(size=shape).astype("float32") for name, shape in shapes.items()}


def test_names_and_shapes_over_there():
    weights = ours()
    theirs = TABLE.write(weights)
    assert theirs["embeddings.word_embeddings.weight"].shape == (9, 4)
    assert theirs["h.11.qkv.weight"].shape == (12, 4)
    assert theirs["h.11.mlp.c_fc.weight"].shape == (4, 6)
    np.testing.assert_array_equal(
        theirs["h.3.qkv.weight"][8:10], weights["encoder.block_3.self_attention.key.kernel"].T
    )
    np.testing.assert_array_equal(theirs["h.3.qkv.bias"][10:], weights["encoder.block_3.self_attention.value.bias"])
    np.testing.assert_array_equal(theirs["ln_f.weight"], weights["encoder.norm.gamma"])
    np.testing.assert_array_equal(theirs["ln_f.bias"], weights["encoder.norm.beta"])
    assert len(theirs) == 3 + 12 * 3


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_reading_undoes_writing(dtype):
    weights = {name: array.astype(dtype) for name, array in ours().items()}
    theirs = {**TABLE.write(weights), "embeddings.position_ids": np.arange(3), "h.7.attn.masked_bias": np.zeros(1)}
    read = TABLE.read(theirs, weights)
    assert set(read) == set(weights) and len(read) == len(weights)
    for name, array in read.items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)
        assert array.dtype == dtype
        assert read.shape(name) == weights[name].shape


def test_several_layers_of_ours_in_one_of_theirs_group_by_group():
    """By head as GPT-NeoX has them, by group as Falcon: of each group its queries, its key, its value."""
    random = np.random.default_rng(0)
    for heads, groups in ((3, 3), (6, 3), (6, 1)):
        widths = {"query": 2 * heads, "key": 2 * groups, "value": 2 * groups}
        weights = {f"{name}.kernel": random.normal(size=(4, width)) for name, width in widths.items()}
        weights |= {f"{name}.bias": random.normal(size=width) for name, width in widths.items()}
        table = WeightMap((Entry(tuple(widths), "qkv", groups=groups),))
        theirs = table.write(weights)
        rows = [
            weights[f"{name}.kernel"].T[2 * head : 2 * head + 2]
            for group in range(groups)
            for name, count in (("query", heads // groups), ("key", 1), ("value", 1))
            for head in range(group * count, group * count + count)
        ]
        np.testing.assert_array_equal(theirs["qkv.weight"], np.concatenate(rows))
        assert theirs["qkv.bias"].shape == (2 * (heads + 2 * groups),)
        read = table.read(theirs, weights)
        for name, array in weights.items():
            np.testing.assert_array_equal(read[name], array, err_msg=name)
            assert read.shape(name) == array.shape


def test_heads_on_an_axis_of_their_own():
    table = WeightMap(
        (
            Entry("query", "query_dense", transposed=False, output_heads=2),
            Entry("output", "output_dense", transposed=False, input_heads=2),
        )
    )
    random = np.random.default_rng(0)
    shapes = {"query.kernel": (4, 6), "query.bias": (6,), "output.kernel": (6, 4), "output.bias": (4,)}
    weights = {name: random.normal(size=shape) for name, shape in shapes.items()}
    theirs = table.write(weights)
    assert {name: array.shape for name, array in theirs.items()} == {
        "query_dense.weight": (4, 2, 3),
        "query_dense.bias": (2, 3),
        "output_dense.weight": (2, 3, 4),
        "output_dense.bias": (4,),
    }
    np.testing.assert_array_equal(theirs["query_dense.weight"][:, 1], weights["query.kernel"][:, 3:])
    np.testing.assert_array_equal(theirs["output_dense.weight"][1], weights["output.kernel"][3:])
    read = table.read(theirs, weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(read[name], array, err_msg=name)
        assert read.shape(name) == array.shape
    # As many elements, and other heads: no weight of ours.
    theirs["query_dense.weight"] = theirs["query_dense.weight"].reshape(4, 3, 2)
    assert table.read(theirs, weights).shape("query.kernel") == (4, 3, 2)


def test_missing_unknown_and_misshaped_tensors_show():
    weights = ours()
    theirs = TABLE.write(weights)
    del theirs["h.2.qkv.weight"]
    theirs["h.3.qkv.bias"] = np.zeros(13)
    theirs["h.3.mlp.other"] = np.zeros((5, 5))
    read = TABLE.read(theirs, weights)
    assert set(weights) - set(read) == {
        f"encoder.block_2.self_attention.{part}.kernel" for part in ("query", "key", "value")
    }
    assert set(read) - set(weights) == {"h.3.mlp.other"}
    assert read["h.3.mlp.other"].shape == read.shape("h.3.mlp.other") == (5, 5)
    assert read.shape("encoder.block_3.self_attention.key.bias") == (13,)


def test_a_weight_that_no_entry_names_is_not_lost_in_silence():
    with pytest.raises(ValueError, match="each weight, got none for head.dense.kernel, odd"):
        TABLE.write({**ours(), "head.dense.kernel": np.zeros((4, 4)), "odd": np.zeros(1)})


def test_tensors_are_read_when_asked_for():
    class Tensors(dict):
        reads = []

        def __getitem__(self, name):
            self.reads.append(name)
            return super().__getitem__(name)

        def shape(self, name):
            return super().__getitem__(name).shape

    weights = ours()
    tensors = Tensors(TABLE.write(weights))
    read = TABLE.read(tensors, weights)
    assert all(read.shape(name) == weights[name].shape for name in read)
    assert "encoder.norm.gamma" in read and "encoder.norm.delta" not in read
    assert tensors.reads == []
    read["encoder.block_0.self_attention.key.kernel"]
    assert tensors.reads == ["h.0.qkv.weight"]


# --- one weight ---


@pytest.mark.parametrize("layer", ["head", "head.dense"])
def test_one_weight_by_its_whole_name(layer):
    table = WeightMap((Entry(f"{layer}.bias", "logits_bias", output_heads=1), Entry(layer, "lm_head")))
    weights = {f"{layer}.kernel": np.ones((2, 3)), f"{layer}.bias": np.arange(3.0)}
    theirs = table.write(weights)
    assert {name: array.shape for name, array in theirs.items()} == {"logits_bias": (1, 3), "lm_head.weight": (3, 2)}
    read = table.read(theirs, weights)
    np.testing.assert_array_equal(read[f"{layer}.bias"], np.arange(3.0))
    assert read.shape(f"{layer}.bias") == (3,) and set(read) == set(weights)


# --- copies ---

TABLES = WeightMap(
    (Entry("embedding", "encoder.tokens"), Entry("decoder_embedding", "decoder.tokens")),
    ignored=("shared.weight",),
    stand_ins=(("shared.weight", "encoder.tokens.weight"), ("shared.weight", "decoder.tokens.weight")),
)


def test_one_tensor_stands_in_for_two_that_are_missing():
    weights = {f"{name}.embeddings": np.zeros((3, 2)) for name in ("embedding", "decoder_embedding")}
    shared = {"shared.weight": np.arange(6.0).reshape(3, 2)}
    read = TABLES.read(shared, weights)
    assert set(read) == set(weights) and read.ignored == []
    weights = {name: read[name] for name in weights}
    assert set(TABLES.write(weights, shared)) == {"shared.weight"}
    weights["decoder_embedding.embeddings"] = np.zeros((3, 2))  # no longer one
    assert set(TABLES.write(weights, shared)) == {"encoder.tokens.weight", "decoder.tokens.weight"}


def test_beside_what_it_stands_in_for_it_is_ignored():
    weights = {f"{name}.embeddings": np.ones((3, 2)) for name in ("embedding", "decoder_embedding")}
    file = {**TABLES.write(weights), "shared.weight": np.zeros((3, 2))}
    read = TABLES.read(file, weights)
    assert read.ignored == ["shared.weight"]
    np.testing.assert_array_equal(read["embedding.embeddings"], 1)
    assert set(TABLES.write(weights, file)) == set(file) - {"shared.weight"}


def test_two_copies_in_the_place_of_one_original():
    table = WeightMap(
        (Entry("embedding", "shared"),), copies=(("a.weight", "shared.weight"), ("b.weight", "shared.weight"))
    )
    file = {"a.weight": np.ones((3, 2)), "b.weight": np.ones((3, 2))}
    weights = {"embedding.embeddings": np.zeros((3, 2))}
    read = table.read(file, weights)
    assert set(read) == set(weights)
    assert set(table.write({name: read[name] for name in weights}, file)) == set(file)


# --- several of theirs in one of ours ---

EXPERTS = WeightMap(
    (), (), (Entry("block_{n}.up", "layers.{n}.experts.*.w1"), Entry("block_{n}.norm", "layers.{n}.norm")), "model."
)


def experts(count=12):
    random = np.random.default_rng(0)
    shapes = {"block_0.up.kernel": (count, 4, 6), "block_0.up.bias": (count, 6), "block_0.norm.scale": (4,)}
    return {name: random.normal(size=shape).astype("float32") for name, shape in shapes.items()}


@pytest.mark.parametrize("prefix", ["model.", ""])
def test_numbered_layers_are_one_of_ours_in_the_order_of_their_numbers(prefix):
    weights = experts()
    theirs = {name.replace("model.", prefix): array for name, array in EXPERTS.write(weights).items()}
    assert len(theirs) == 12 + 12 + 1
    one = theirs[f"{prefix}layers.0.experts.10.w1.weight"]
    np.testing.assert_array_equal(one, weights["block_0.up.kernel"][10].T)
    read = EXPERTS.read(dict(sorted(theirs.items())), weights)
    assert set(read) == set(weights)
    for name, array in read.items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)
        assert read.shape(name) == weights[name].shape


def test_a_missing_one_of_several_shows_in_the_shape():
    weights = experts()
    theirs = EXPERTS.write(weights)
    del theirs["model.layers.0.experts.3.w1.weight"]
    assert EXPERTS.read(theirs, weights).shape("block_0.up.kernel") == (11, 4, 6)


def test_several_that_are_stacked_already_are_taken_as_they_are():
    weights = experts()
    stacked = {
        "model.layers.0.experts.*.w1.weight": weights["block_0.up.kernel"].swapaxes(1, 2),
        "model.layers.0.experts.*.w1.bias": weights["block_0.up.bias"],
        "model.layers.0.norm.weight": weights["block_0.norm.scale"],
    }
    read = EXPERTS.read(stacked, weights)
    for name, array in read.items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)


def test_of_several_spellings_the_one_in_the_file_counts():
    fused = tuple(f"block_{{n}}.{part}" for part in ("query", "key"))
    table = WeightMap((*(Entry(ours, f"h.{{n}}.{ours[-3:]}") for ours in fused), Entry(fused, "layer.{n}.both")))
    random = np.random.default_rng(0)
    weights = {f"block_0.{part}.kernel": random.normal(size=(4, 3)).astype("float32") for part in ("query", "key")}
    first = table.write(weights)
    assert set(first) == {"h.0.ery.weight", "h.0.key.weight"}
    second = {"layer.0.both.weight": np.concatenate([each.T for each in weights.values()])}
    for theirs in (first, second):
        read = table.read(theirs, weights)
        assert set(read) == set(weights)
        for name, array in weights.items():
            np.testing.assert_array_equal(read[name], array)
        written = table.write(weights, theirs)
        assert set(written) == set(theirs)
        for name, array in theirs.items():
            np.testing.assert_array_equal(written[name], array)


def test_experts_in_one_matrix():
    table = WeightMap(
        (Entry("up.kernel", "w1", merged=True), Entry("down.kernel", "w2", transposed=False, merged=True))
    )
    random = np.random.default_rng(0)
    weights = {"up.kernel": random.normal(size=(5, 4, 3)), "down.kernel": random.normal(size=(5, 3, 4))}
    theirs = table.write(weights)
    assert {name: array.shape for name, array in theirs.items()} == {"w1": (15, 4), "w2": (15, 4)}
    np.testing.assert_array_equal(theirs["w1"][6:9], weights["up.kernel"][2].T)
    np.testing.assert_array_equal(theirs["w2"][6:9], weights["down.kernel"][2])
    read = table.read(theirs, weights)
    for name, array in weights.items():
        assert read.shape(name) == array.shape
        np.testing.assert_array_equal(read[name], array)
    assert table.read({"w1": np.zeros((16, 4))}, weights).shape("up.kernel") == (4, 16)  # which does not fit
