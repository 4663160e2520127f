"""What is asked and what is right: prompts, exact series, their splits, and the gold reward."""
