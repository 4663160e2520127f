"""Variations of integer series, made and named; nothing here knows prompts or rewards."""
