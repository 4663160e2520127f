"""Completions sampled from the language model, and the preference pairs that they make."""
