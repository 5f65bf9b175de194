"""Forebay: autoscaler and release controller for language models on Kubernetes."""
