"""transformers' side: its models of the cases' checkpoints."""

import functools
import json

from keras_transformers.families.registry import family_of
from tests.conformance import checkpoints
from tests.conformance.cases import CHECKPOINTS, OWN_CODE
from tests.conformance.own_code import OwnCode


@functools.cache
def model(name):
    """transformers' model of a checkpoint of `CHECKPOINTS`."""
    return load(checkpoints.folder(name), CHECKPOINTS[name][1])


def load(folder, head):
    """transformers' model of a folder; all that is in the folder is used."""
    if family_of(json.loads((folder / "config.json").read_text("utf-8")), folder).model_type in OWN_CODE:
        return OwnCode(folder)
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    architecture = getattr(transformers, head.architecture)
    loaded, told = architecture.from_pretrained(folder, output_loading_info=True)
    assert not told["unexpected_keys"] and not told["mismatched_keys"], told
    if (head_matrix := _own_head(folder, loaded)) is not None:
        loaded.lm_head.weight = head_matrix
        loaded.config.tie_word_embeddings = False  # by which UMT5 scales its outputs
    _mend_experts(loaded)
    return loaded.eval()


def _mend_experts(loaded):
    """Let NLLB-MoE's experts compute what they did before version 5 of transformers, as in fairseq: there the experts
    are named by the mask of each token's first choice, so that only experts 0 and 1 are asked."""
    for module in loaded.modules():
        if type(module).__name__ == "NllbMoeExperts":
            module.forward = functools.partial(_mixed, module)


def _mixed(experts, x, mask, shares):
    every = range(experts.num_experts)
    outputs = sum(shares[:, number, None] * experts[f"expert_{number}"](x) for number in every)
    return outputs * (1 - experts.moe_token_dropout)


def _own_head(folder, loaded):
    """The matrix of T5's head where the file says that it has one: version 5 of transformers takes the token embeddings
    nevertheless, which is another model. None for all others."""
    import torch
    from safetensors.torch import load_file

    told = json.loads((folder / "config.json").read_text("utf-8"))
    if told["model_type"] not in ("t5", "mt5", "umt5") or told["tie_word_embeddings"] or not hasattr(loaded, "lm_head"):
        return None
    return torch.nn.Parameter(load_file(folder / "model.safetensors")["lm_head.weight"])
