"""Train in PyTorch what the rest of the package runs without it."""
