"""The weights of a `torch.nn.Transformer`, PyTorch's original encoder-decoder."""

from keras_transformers.families.weight_map import Entry, WeightMap


def torch_transformer(
    prefix: str = "",
    *,
    embedding: str,
    decoder_embedding: str | None = None,
    head: str | None = None,
    ignored: tuple[str, ...] = (),
) -> WeightMap:
    """Return the weight table of a model around a `torch.nn.Transformer`. Only its embeddings and head need names.

    `torch.nn.Transformer` computes the same as `kt.models.transformer` with `final_norm=True` and `norm_placement`
    "pre" if `norm_first` is true, else "post".

    Args:
        prefix: the prefix of the names in the `torch.nn.Transformer`, such as `"transformer."`.
        embedding, decoder_embedding: the names of the embeddings; one name if they are shared.
        head: the name of the head, a `torch.nn.Linear`; None if the head is tied and has no bias.
        ignored: tensors that the model has no weight for, such as a table of sinusoids.

    Returns: a `WeightMap`.

    Source: the state dictionary of `torch.nn.Transformer`, https://docs.pytorch.org/docs/stable/nn.html.

    Example:
        >>> table = torch_transformer(embedding="embedding")
        >>> model = kt.Seq2SeqLM(kt.models.transformer(50, num_layers=2, hidden_dim=16, num_heads=2, final_norm=True))
        >>> table.write(named_weights(model))["encoder.layers.1.self_attn.in_proj_weight"].shape
        (48, 16)
    """
    entries = [Entry("embedding.token", embedding)]
    if decoder_embedding is not None:
        entries.append(Entry("decoder_embedding.token", decoder_embedding))
    branches = {
        "encoder": {"self_attention": "self_attn", "feed_forward": None},
        "decoder": {"self_attention": "self_attn", "cross_attention": "multihead_attn", "feed_forward": None},
    }
    for stack, branch_names in branches.items():
        ours, theirs = f"{stack}.block_{{n}}", f"{prefix}{stack}.layers.{{n}}"
        for number, (branch, name) in enumerate(branch_names.items(), start=1):
            if name is None:
                entries += [
                    Entry(f"{ours}.{branch}.up", f"{theirs}.linear1"),
                    Entry(f"{ours}.{branch}.down", f"{theirs}.linear2"),
                ]
            else:
                parts = tuple(f"{ours}.{branch}.{part}" for part in ("query", "key", "value"))
                entries += [
                    Entry(parts, f"{theirs}.{name}.in_proj_{{leaf}}"),
                    Entry(f"{ours}.{branch}.output", f"{theirs}.{name}.out_proj"),
                ]
            # A block has one of the two norms; PyTorch's name is the same for both.
            entries += [
                Entry(f"{ours}.{branch}_norm_{place}", f"{theirs}.norm{number}") for place in ("before", "after")
            ]
        entries.append(Entry(f"{stack}.norm", f"{prefix}{stack}.norm"))
    if head is not None:
        entries += [Entry("head.dense", head), Entry("head", head)]
    return WeightMap(tuple(entries), tuple(ignored))
