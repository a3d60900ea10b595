"""The loss of a language model: cross-entropy over the vocabulary for each token.

Shapes: `B` batch, `T` tokens, `V` vocabulary.
"""

from keras_transformers.backends import training
from keras_transformers.backends.types import Tensor


def token_cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Label-smoothed cross-entropy of each token, and its negative log-likelihood.

    With `e = label_smoothing` the target distribution is `1 - e` on the label plus `e / V` on every entry of the
    vocabulary, so that

        loss = logsumexp(logits) - (1 - e) * logits[label] - e * mean(logits)

    The result is neither reduced nor masked: weight it (0 on padding), and divide by the sum of the weights. The
    computation is in float32 for logits of any dtype, and makes no `[B, T, V]` one-hot array.

    Args:
        logits: `[B, T, V]`, any floating dtype; or with any other leading axes.
        labels: `[B, T]` integers in `[0, V)`. They are not checked, since that would wait for the device. Padding must
            be a valid id too.
        label_smoothing: `e`, in `[0, 1)`. Vaswani et al. 2017 use 0.1.

    Returns:
        `(loss, negative_log_likelihood)`, both float32 `[B, T]`. The second is for perplexity, and has no gradient.

    Raises:
        ValueError: if the shapes do not fit, or `label_smoothing` is outside of `[0, 1)`.

    Example:
        >>> logits, labels = np.zeros((1, 2, 4), "float32"), np.array([[0, 3]])
        >>> loss, negative_log_likelihood = token_cross_entropy(logits, labels, label_smoothing=0.1)
        >>> loss  # log 4 each
        [[1.3862944 1.3862944]]

    Source: Szegedy et al. 2016, section 7 (label smoothing); Vaswani et al. 2017, section 5.4.
    """
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(
            f"Expected label_smoothing in [0, 1), got {label_smoothing}. Use 0.1 for the published Transformer, 0 for "
            "none."
        )
    if len(logits.shape) != len(labels.shape) + 1:
        raise ValueError(
            f"Expected logits [B, T, V] and labels [B, T], got logits {tuple(logits.shape)} and labels "
            f"{tuple(labels.shape)}. Labels are token ids, not one-hot vectors."
        )
    for logits_size, labels_size in zip(logits.shape[:-1], labels.shape, strict=True):
        if isinstance(logits_size, int) and isinstance(labels_size, int) and logits_size != labels_size:
            raise ValueError(
                f"Expected labels of the leading shape of the logits, got logits {tuple(logits.shape)} and "
                f"labels {tuple(labels.shape)}. Pad both to the same length."
            )
    return training.cross_entropy(logits, labels, label_smoothing)
