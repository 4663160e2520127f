"""Where the language model comes from, and how good it is at the task."""
