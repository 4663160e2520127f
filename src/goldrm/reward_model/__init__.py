"""What is read of a completion, and the readouts that make a reward of it."""
