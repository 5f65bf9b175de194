"""A plugin of vLLM, loaded by vLLM itself from its own environment: a Llama whose steps take as long as on a GPU.

Every pass waits for ``step_s`` of the model's configuration without using the processor. Three replicas on two cores
can so carry three times the work of one, as three GPUs would; all else is vLLM's own.
"""

import time
from typing import Any

from vllm import ModelRegistry  # type: ignore[import-not-found]  # it has an environment of its own
from vllm.model_executor.models.llama import LlamaForCausalLM  # type: ignore[import-not-found]


def register() -> None:
    """Tell vLLM of the model; it calls this by the entry point that environment.py writes."""
    ModelRegistry.register_model("PacedLlamaForCausalLM", PacedLlamaForCausalLM)


class PacedLlamaForCausalLM(LlamaForCausalLM):  # type: ignore[misc]
    """A Llama that keeps a pace."""

    def __init__(self, *, vllm_config: Any, prefix: str = "", **rest: Any) -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix, **rest)
        self.step_s: float = vllm_config.model_config.hf_config.step_s

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What a Llama answers, and not before ``step_s`` have passed."""
        time.sleep(self.step_s)  # noqa: TID251 - the pace is the point
        return super().forward(*inputs, **named)
