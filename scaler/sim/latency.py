"""The latency model of one replica: a few fitted numbers for each model and GPU, and what they say."""

from dataclasses import dataclass
from typing import Final

GIB: Final = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One replica's engine: a model on ``gpus`` GPUs of one kind (its tensor parallelism).

    A step with B running sequences and KV thousand resident tokens, which takes n prompt tokens, lasts
    alpha + beta*B + kappa*KV + delta*n milliseconds; with none running gamma + delta*n. The parameters are fitted to
    NVIDIA's AIConfigurator 0.12.0 database (vLLM 0.24.0): mean error 2 % for decoding, 7 to 13 % for prefill.
    """

    name: str
    gpu: str
    gpus: int
    gamma_ms: float
    delta_ms: float
    alpha_ms: float
    beta_ms: float
    kappa_ms: float
    kv_tokens: int
    max_seqs: int = 256
    chunk_tokens: int = 8192

    def lone_ttft_s(self, prompt_tokens: int) -> float:
        """Time to first token of a request that meets an idle replica."""
        chunks = -(-prompt_tokens // self.chunk_tokens)
        return (chunks * self.gamma_ms + self.delta_ms * prompt_tokens) / 1e3

    def step_s(self, running: float, resident_tokens: float) -> float:
        """Duration of a decode step, which is the inter-token latency."""
        return (self.alpha_ms + self.beta_ms * running + self.kappa_ms * resident_tokens / 1e3) / 1e3


def kv_capacity_tokens(memory_gib: float, gpus: int, weights_bytes: float, token_bytes: int) -> int:
    """The KV cache in tokens: 0.9 of the GPUs' memory, less the weights and 3 GB a GPU for the rest.

    70B on four H100: 477 k computed, 468,752 in a public log (+1.8 %).
    """
    return int((0.9 * memory_gib * GIB * gpus - weights_bytes - 3e9 * gpus) // token_bytes)


LLAMA_8B_H100: Final = Engine(
    name="llama-3.1-8b",
    gpu="H100",
    gpus=1,
    gamma_ms=3.96,
    delta_ms=0.01962,
    alpha_ms=6.373,
    beta_ms=0.0120,
    kappa_ms=0.04087,
    kv_tokens=kv_capacity_tokens(80, 1, 16.06e9, 128 * 1024),
)
LLAMA_8B_L40S: Final = Engine(
    name="llama-3.1-8b",
    gpu="L40S",
    gpus=1,
    gamma_ms=13.60,
    delta_ms=0.06453,
    alpha_ms=22.191,
    beta_ms=0.0448,
    kappa_ms=0.18307,
    kv_tokens=kv_capacity_tokens(45, 1, 16.06e9, 128 * 1024),  # 48 GB less what ECC takes
)
QWEN_32B_H100: Final = Engine(
    name="qwen3-32b",
    gpu="H100",
    gpus=2,
    gamma_ms=10.01,
    delta_ms=0.04842,
    alpha_ms=13.601,
    beta_ms=0.0264,
    kappa_ms=0.04220,
    kv_tokens=kv_capacity_tokens(80, 2, 65.5e9, 256 * 1024),
)
LLAMA_70B_H100: Final = Engine(
    name="llama-3.1-70b",
    gpu="H100",
    gpus=4,
    gamma_ms=10.17,
    delta_ms=0.05983,
    alpha_ms=15.183,
    beta_ms=0.0325,
    kappa_ms=0.02664,
    kv_tokens=kv_capacity_tokens(80, 4, 141.1e9, 320 * 1024),
)
ENGINES: Final = (LLAMA_8B_H100, LLAMA_8B_L40S, QWEN_32B_H100, LLAMA_70B_H100)
"""The rows that a scenario may name."""
