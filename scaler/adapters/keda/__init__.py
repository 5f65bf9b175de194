"""KEDA asks, and is answered from what was decided; KEDA and its HPA write the replica counts."""
