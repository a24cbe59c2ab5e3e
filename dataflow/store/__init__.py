"""Where records come from and end up: the only room that knows files."""
