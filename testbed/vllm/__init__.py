"""Real vLLM on a CPU: its environment and a model small enough to be made on the spot."""
