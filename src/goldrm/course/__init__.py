"""The course's own files, read safely: only tensors and plain containers, within limits."""
