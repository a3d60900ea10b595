"""What both libraries compute from the same texts, as arrays to compare: the one place that knows how each task is
called on either side."""

import inspect

import numpy as np
from keras import ops

from keras_transformers.generation import executors

# A text that fills its row, and two padded ones: at their ends, and at their beginnings.
PADDING = ((0.0, 0.0), (0.0, 0.3), (0.25, 0.0))
AT_ENDS = ((0.0, 0.0), (0.0, 0.3), (0.0, 0.25))
IN_FRONT = ((0.0, 0.0), (0.3, 0.0), (0.25, 0.0))
# In front of a text, transformers would classify it by its padding: ESM's has no vectors, Longformer's sees all, and
# BigBird's nothing.
PADDED_AT_ENDS = ("esm", "longformer", "big_bird")
# At the end of a text, transformers would classify it by its padding; its tokenizer puts padding in front.
PADDED_IN_FRONT = ("xlnet",)


def inputs(case, *, segments=True, length=None):
    """Texts as our models take them. The padding mask is left to the model; a decoder is told where its texts begin. Of
    two stacks the decoder reads a text of its own where it writes, padded at its end, and else the source."""
    length, config = length or case.length, case.config
    random = np.random.default_rng(length)
    # whose decoder begins with the text's last token, looks for it where it is without padding before it
    at_ends = config.reading is not None and config.reading.start_id is None and not case.writes
    at_ends = at_ends or case.model_type in PADDED_AT_ENDS
    # whose classifier reads the first token: at padding, transformers' DeBERTa has the mean of all tokens, padding too
    at_ends = at_ends or (case.task == "TextClassifier" and case.model_type in ("deberta", "deberta-v2"))
    padding = IN_FRONT if case.model_type in PADDED_IN_FRONT else AT_ENDS if at_ends else PADDING
    made = {"token_ids": _texts(random, config, config.embeddings, length, padding)}
    if case.writes:
        target = max(length - 5, 1)
        made["decoder_token_ids"] = _texts(random, config, config.target_embeddings, target, AT_ENDS)
    token_ids = made["token_ids"]
    if segments and config.num_segments:
        made["segment_ids"] = random.integers(0, min(config.num_segments, 4), token_ids.shape).astype("int32")
    if case.decodes:
        made["starts"] = np.array([[round(left * length)] for left, _ in PADDING], "int32")
    return made


def _texts(random, config, embeddings, length, padding):
    """Token ids `[B, length]` of rows that are padded so. Where an end token is looked for, it is the last but one."""
    end_id = config.pooler.end_id
    others = np.delete(
        np.arange(embeddings.vocabulary_size), [config.padding_id, *([] if end_id is None else [end_id])]
    )
    token_ids = random.choice(others, (len(padding), length)).astype("int32")
    for row, (left, right) in enumerate(padding):
        end = length - round(right * length)
        if end_id is not None:
            token_ids[row, max(end - 2, 0)] = end_id
        token_ids[row, : round(left * length)] = config.padding_id
        token_ids[row, end:] = config.padding_id
    return token_ids


def real(case, inputs, of="outputs"):
    """Which tokens are no padding, bool `[B, T]`: of those that there are outputs for, or "encoder_hidden_states"."""
    is_target = "decoder_token_ids" in inputs and not of.startswith("encoder")
    return inputs["decoder_token_ids" if is_target else "token_ids"] != case.config.padding_id


def ours(model, inputs, through=None, **arguments):
    """What a task of ours computes, of a `TextEmbedder` the hidden states: a numpy array. `through(model)` is called in
    its place."""
    called = _called(model)
    if through is not None:
        called, inputs = through(called), {name: ops.convert_to_tensor(array) for name, array in inputs.items()}
    computed = called(inputs, **arguments)
    return ops.convert_to_numpy(ops.cast(computed, "float32"))


def direct(model, inputs):
    """The same as a task predicts it: by layers called directly, which takes a third of the time on PyTorch."""
    return executors.forward(model, _called(model).call)(inputs)


def _called(model):
    return model.backbone if type(model).__name__ == "TextEmbedder" else model


def theirs(model, case, inputs, **arguments):
    """What transformers' model computes: a numpy array of the same shape as ours."""
    outputs = their_outputs(model, case, inputs, **arguments)
    if "last_hidden_state" in outputs:
        return outputs.last_hidden_state.numpy()
    if "start_logits" in outputs:
        return np.stack([outputs.start_logits.numpy(), outputs.end_logits.numpy()], axis=-1)
    logits = outputs.logits.numpy()
    is_score_of_tokens = logits.shape == inputs["token_ids"].shape
    return logits[..., None] if is_score_of_tokens else logits


def their_outputs(model, case, inputs, **arguments):
    """All that transformers' model returns."""
    import torch

    named = {"input_ids": inputs["token_ids"], "attention_mask": real(case, inputs, "encoder")}
    if "decoder_token_ids" in inputs:
        named["decoder_input_ids"] = inputs["decoder_token_ids"]
    if "segment_ids" in inputs:
        named["token_type_ids"] = inputs["segment_ids"]
    if "starts" in inputs and "position_ids" in inspect.signature(model.forward).parameters:
        named["position_ids"] = np.maximum(np.arange(inputs["token_ids"].shape[1]) - inputs["starts"], 0)
    base = getattr(model, "base_model", None)  # published code of its own has none
    if hasattr(base, "set_attention_type"):  # BigBird stays at full attention after one short text
        base.set_attention_type(model.config.attention_type)
    with torch.no_grad():
        return model(**{name: torch.tensor(array).long() for name, array in named.items()}, **arguments)


def compared(outputs, case, inputs):
    """The part of outputs that counts: of what has a row for each token, those that are no padding."""
    per_token = outputs.ndim == 3
    return outputs[real(case, inputs)] if per_token else outputs
