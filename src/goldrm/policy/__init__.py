"""A language model that is optimised against a reward, and what becomes of the gold reward."""
