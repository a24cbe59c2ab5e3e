"""A small HTTP server that plays the third-party APIs in demos, tests and benchmarks.

    python -m jobs.provider --port 0

`serve` starts it for a test and asks it what it has seen. Nothing of the library is used here: the provider is
the judge of what the library sends.
"""
