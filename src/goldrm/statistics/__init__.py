"""Statistics of rewards against gold rewards: pure functions of arrays."""
