"""The page of `goldrm report`: what stands on it, and how it looks."""
