"""What a readout is trained on, and the training itself."""
