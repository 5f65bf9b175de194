"""A claim to GPUs: what one model wants of them, has and may not fall below."""

from dataclasses import replace

from scaler.core.share import Claim
from tests.builders import key


def claim(name: str, want: int, **difference: object) -> Claim:
    """One model that has nothing and wants replicas of one GPU, without a floor."""
    plain = Claim(
        policy=f"models/{name}",
        namespace="models",
        key=key(),
        priority=0,
        gpus=1,
        floor=0,
        want=want,
        has=0,
        going=0,
        pending=0,
        products=("H100",),
    )
    return replace(plain, **difference)  # type: ignore[arg-type]  # named by the test
