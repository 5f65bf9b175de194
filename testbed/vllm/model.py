"""A language model of two layers with weights by chance, made on the spot: nothing comes from a hub.

What it says is nonsense. One printable character is one token, so whoever writes a prompt knows its length, and an
answer of so many tokens has so many characters.
"""

import json
import string
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np

HIDDEN: Final = 64
INTERMEDIATE: Final = 128
LAYERS: Final = 2
HEADS: Final = 2
HEAD_SIZE: Final = 32
"""The smallest that vLLM's attention on a CPU knows."""

MAX_TOKENS: Final = 2048
ARCHITECTURE: Final = "PacedLlamaForCausalLM"
"""Registered by paced.py."""

SPECIALS: Final = ("<|begin|>", "<|end|>")
CHARACTERS: Final = string.digits + string.ascii_letters + string.punctuation + " "
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }} {% endfor %}assistant: "
)


def write_model(folder: Path, *, step_s: float, seed: int = 0) -> None:
    """Write the model into ``folder``, as transformers would save it; each forward pass takes ``step_s`` at least."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = {
        "config.json": configuration(step_s),
        "generation_config.json": {"bos_token_id": 0, "eos_token_id": 1},
        "tokenizer.json": tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SPECIALS[0],
            "eos_token": SPECIALS[1],
            "chat_template": CHAT_TEMPLATE,
            "model_max_length": MAX_TOKENS,
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(safetensors(weights(seed)))


def configuration(step_s: float) -> dict[str, Any]:
    """What a Llama of this size says of itself, and its pace."""
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HEAD_SIZE,
        "max_position_embeddings": MAX_TOKENS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": False,
        "vocab_size": len(vocabulary()),
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "float32",
        "step_s": step_s,
    }


def vocabulary() -> dict[str, int]:
    """The number of each token; a space is written as byte-level tokenizers write it."""
    return {token: number for number, token in enumerate((*SPECIALS, *CHARACTERS.replace(" ", "Ġ")))}


def tokenizer() -> dict[str, Any]:
    """A byte-level BPE without merges, in the format of the tokenizers library."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "added_tokens": [{"id": number, "content": token, **flags} for number, token in enumerate(SPECIALS)],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary(), "merges": []},
    }


def weights(seed: int) -> dict[str, np.ndarray]:
    """Every tensor of the model by its name, with a spread that keeps activations near one."""
    chance = np.random.default_rng(seed)

    def spread(*shape: int) -> np.ndarray:
        return chance.normal(0.0, shape[-1] ** -0.5, shape).astype(np.float32)

    ones = np.ones(HIDDEN, np.float32)
    found = {"model.embed_tokens.weight": spread(len(vocabulary()), HIDDEN), "model.norm.weight": ones}
    for layer in range(LAYERS):
        found |= {
            f"model.layers.{layer}.{name}.weight": tensor
            for name, tensor in {
                "input_layernorm": ones,
                "post_attention_layernorm": ones,
                **{f"self_attn.{each}_proj": spread(HEADS * HEAD_SIZE, HIDDEN) for each in "qkv"},
                "self_attn.o_proj": spread(HIDDEN, HEADS * HEAD_SIZE),
                "mlp.gate_proj": spread(INTERMEDIATE, HIDDEN),
                "mlp.up_proj": spread(INTERMEDIATE, HIDDEN),
                "mlp.down_proj": spread(HIDDEN, INTERMEDIATE),
            }.items()
        }
    return found | {"lm_head.weight": spread(len(vocabulary()), HIDDEN)}


def safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    """The tensors in the safetensors format: the header's length in 8 bytes, the header as JSON, the bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts, offset = [], 0
    for name, tensor in tensors.items():
        part = tensor.tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + len(part)]}
        parts.append(part)
        offset += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)
