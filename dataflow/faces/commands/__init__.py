"""The commands, a file for each group of them; how they are found and how they end is the business of `cli`."""
