"""The frame around a stage: one at a time, on inputs that hold still, resumable."""
