"""How it is seen: reads and draws, never decides."""
