"""Reward models trained against a gold reward that is known exactly."""
