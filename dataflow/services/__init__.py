"""What the author declares: inert values that run nothing."""
