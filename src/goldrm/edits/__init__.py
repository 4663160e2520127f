"""Variations of integer series: named edits, random ones, probes, and kinds of mistake."""
