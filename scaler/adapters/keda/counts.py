"""What the process that answers KEDA counts of itself. Names and labels are stable; label values are few."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

ANSWER_BUCKETS_S: Final = (0.00001, 0.000025, 0.0001, 0.00025, 0.001, 0.0025, 0.01, 0.1, 1.0)


class Counts:
    """Its metrics in ``registry``; forebay_keda_process_* are the processor time and memory of the process itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(namespace="forebay_keda", registry=registry)
        self._answers = Counter(
            "forebay_keda_answers", "Answers to KEDA, by call and status code.", ["rpc", "code"], registry=registry
        )
        self._answer_s = Histogram(
            "forebay_keda_answer_seconds",
            "How long an answer to KEDA took, from the parsed question on.",
            ["rpc"],
            buckets=ANSWER_BUCKETS_S,
            registry=registry,
        )

    def answered(self, rpc: str, code: str, took_s: float) -> None:
        """A question of KEDA was answered; ``code`` is a gRPC status code's name."""
        self._answers.labels(rpc, code).inc()
        self._answer_s.labels(rpc).observe(took_s)
