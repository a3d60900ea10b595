"""Pictures of attention and of training: what they show, and what they refuse."""

import sys

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.tasks import attention_plots
from keras_transformers.training import curves
from keras_transformers.training.callbacks import LearningCurve

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.one_backend("torch")

SOURCE, TARGET = "The house, at $5, is as small as $4.", "La maison où j'ai été « Noël » est très petite."
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    tokenizer = kt.Tokenizer.train([SOURCE, TARGET] * 5, vocabulary_size=330)
    config = kt.models.transformer(
        tokenizer.vocabulary_size, num_layers=2, hidden_dim=32, num_heads=4, intermediate_dim=64, max_length=256
    )
    return kt.Seq2SeqLM(config, tokenizer=tokenizer)


def panels(figure):
    """The scores that each matrix shows."""
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images and axes.get_visible()]


def labels(figure):
    axes = figure.axes[0]
    return tuple([label.get_text() for label in axis.get_ticklabels()] for axis in (axes.yaxis, axes.xaxis))


def pieces(model, text):
    return [piece.replace(" ", "␣") for piece in model.tokenizer.tokens(text)]


def test_cross_attention_has_the_source_across_and_the_target_down(model, tmp_path):
    figure = kt.plot_attention(model, SOURCE, TARGET, path=tmp_path / "new" / "attention.png")
    rows, columns = labels(figure)
    assert rows == [*pieces(model, TARGET), "</s>"] and columns == [*pieces(model, SOURCE), "</s>"]
    assert "␣Noël" in rows or "Noël" in "".join(rows)
    (scores,) = panels(figure)
    assert scores.shape == (len(rows), len(columns))
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-5)
    assert (tmp_path / "new" / "attention.png").read_bytes().startswith(PNG)


def test_it_shows_the_scores_of_the_backbone(model):
    ids = {"token_ids": model.tokenizer.encode([SOURCE])[0], "decoder_token_ids": model.tokenizer.encode([TARGET])[0]}
    inputs = {
        "token_ids": np.array([[*ids["token_ids"], model.tokenizer.end_id]]),
        "decoder_token_ids": np.array([[model.tokenizer.start_id, *ids["decoder_token_ids"]]]),
    }
    results = model.backbone(inputs, return_attention_scores=True)
    for which, name in {
        "cross": "cross_attention_scores",
        "encoder": "encoder_attention_scores",
        "decoder": "attention_scores",
    }.items():
        for layer in (0, -1):
            expected = keras.ops.convert_to_numpy(results[name][layer][0])
            options = {"layer": layer, "which": which}
            (mean,) = panels(kt.plot_attention(model, SOURCE, TARGET, **options))
            np.testing.assert_allclose(mean, expected.mean(axis=0), atol=1e-6)
            (one,) = panels(kt.plot_attention(model, SOURCE, TARGET, head=2, **options))
            np.testing.assert_allclose(one, expected[2], atol=1e-6)
            every = panels(kt.plot_attention(model, SOURCE, TARGET, head="all", **options))
            np.testing.assert_allclose(every, expected, atol=1e-6)


def test_the_decoder_sees_what_it_has_read_and_nothing_later(model):
    figure = kt.plot_attention(model, SOURCE, TARGET, which="decoder")
    assert labels(figure)[0] == labels(figure)[1] == ["<s>", *pieces(model, TARGET)]
    assert np.all(np.triu(panels(figure)[0], 1) == 0)


def test_without_a_target_it_is_the_model_s_own_translation(model):
    written = model.generate(
        [[*model.tokenizer.encode([SOURCE])[0], model.tokenizer.end_id]],
        model.generation.__class__(**{**vars(model.generation), "max_new_tokens": 6}),
    ).token_ids[0]
    figure = kt.plot_attention(model, SOURCE, max_new_tokens=6)
    expected = [attention_plots._visible(piece) for piece in model.tokenizer.tokens(written)]
    assert labels(figure)[0] == expected[: len(labels(figure)[0])] and len(labels(figure)[0]) <= 6


def test_the_title_says_what_is_drawn(model):
    def title(**options):
        return kt.plot_attention(model, SOURCE, TARGET, **options).get_suptitle()

    assert title() == "Cross-attention, layer 1, mean of 4 heads"
    assert title(which="encoder", layer=0, head=-1) == "Encoder self-attention, layer 0, head 3"
    assert title(which="decoder", head="all") == "Decoder self-attention, layer 1, 4 heads"
    assert title(title="costs $5 or $6") == "costs $5 or $6"


def test_dollar_signs_are_no_formula(model):
    figure = kt.plot_attention(model, SOURCE, TARGET, title="$\\broken{$")
    figure.canvas.draw()
    assert figure._repr_png_().startswith(PNG)


def test_a_long_sentence_stays_a_page(model):
    figure = kt.plot_attention(model, "the house " * 30, "la maison " * 30)
    assert max(figure.get_size_inches()) < 30
    assert max(label.get_fontsize() for label in figure.axes[0].get_xticklabels()) >= 4


def test_whitespace_and_long_pieces_can_be_seen():
    assert attention_plots._visible(" né") == "␣né"
    assert attention_plots._visible("\u202f\n\t\0") == "␣↵⇥\ufffd"
    assert attention_plots._visible("x" * 30) == "x" * 23 + "…"


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"which": "both"}, ValueError, "Expected which to be one of 'cross', 'encoder', 'decoder', got 'both'"),
        ({"layer": 2}, ValueError, "Expected layer to be from -2 to 1, got 2"),
        ({"layer": None}, ValueError, "Expected layer to be from -2 to 1, got None"),
        ({"head": 4}, ValueError, 'Expected head to be from -4 to 3, "all" or None for their mean, got 4'),
        ({"head": "mean"}, ValueError, "got 'mean'"),
        ({"target": ["a"]}, TypeError, "Expected target to be one string, got list"),
        ({"source": ["a"]}, TypeError, "Expected source to be one string, got list"),
        ({"source": " "}, ValueError, "Expected a source with some text, got ' '"),
        ({"target": None, "beams": 2}, TypeError, "Expected generation settings among"),
    ],
)
def test_what_is_not_there_is_refused(model, options, error, message):
    with pytest.raises(error, match=message):
        kt.plot_attention(**{"model": model, "source": SOURCE, "target": TARGET, **options})


def test_without_matplotlib_the_message_names_the_extra(model, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (lambda: kt.plot_attention(model, SOURCE), lambda: kt.plot_learning_curve([], tmp_path / "curve.png")):
        with pytest.raises(ImportError, match=r"Expected matplotlib.*pip install 'keras-transformers\[train\]'"):
            draw()


RECORDS = [(step, 0, name, 9.0 / step) for step in (1, 2, 3) for name in ("loss", "perplexity", "val_bleu")]


def test_a_learning_curve_from_records_and_from_a_file(tmp_path):
    assert kt.plot_learning_curve(RECORDS, tmp_path / "a" / "curve.png", title="t") == tmp_path / "a" / "curve.png"
    file = tmp_path / "run.csv"
    file.write_text("step,epoch,name,value\n" + "".join(f"{','.join(map(str, row))}\n" for row in RECORDS))
    before = file.read_text()
    assert kt.plot_learning_curve(file) == tmp_path / "run.png"
    assert kt.plot_learning_curve(str(file), tmp_path / "other.png") == tmp_path / "other.png"
    assert file.read_text() == before
    for picture in ("a/curve.png", "run.png", "other.png"):
        assert (tmp_path / picture).read_bytes().startswith(PNG)


def test_it_reads_what_the_callback_writes(tmp_path, model):
    curve = LearningCurve(tmp_path / "curve.png", every_steps=1)
    copy = kt.Seq2SeqLM(model.config, tokenizer=model.tokenizer)
    copy.fit([SOURCE] * 4, [TARGET] * 4, batch_size=2, epochs=2, callbacks=[curve], verbose=0)
    drawn = (tmp_path / "curve.png").read_bytes()
    kt.plot_learning_curve(tmp_path / "curve.csv", tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == drawn


def test_a_learning_curve_of_nothing_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected the CSV file of a LearningCurve, got nothing at"):
        kt.plot_learning_curve(tmp_path / "absent.csv")
    with pytest.raises(ValueError, match="Expected path=, where to write"):
        kt.plot_learning_curve(RECORDS)
    (tmp_path / "empty.csv").write_text("step,epoch,name,value\n")
    with pytest.raises(ValueError, match="Expected records of training, got none"):
        kt.plot_learning_curve(tmp_path / "empty.csv")


def test_quality_by_length_groups_equal_lengths_together(tmp_path):
    pytest.importorskip("sacrebleu")
    sources = ["w " * length for length in [2] * 30 + [3] * 5 + [4] * 25 + [9] * 3]
    references = ["one two three four five"] * len(sources)
    figure = curves.plot_quality_by_length(sources, references, references, tmp_path / "quality.png")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2\n30 sentences", "3–9\n33 sentences"]
    assert [round(bar.get_height()) for bar in axes.patches] == [100] * 4
    assert (tmp_path / "quality.png").read_bytes().startswith(PNG)
    assert curves._length_groups([5, 1], 20) == {"1–5": [1, 0]}
