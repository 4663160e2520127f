"""The frozen language model: the notebook's transformer, its cache, and its weights' files."""
