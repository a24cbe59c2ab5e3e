"""How a request is made: attempts under their policies, one connection pool for each API and process."""
