"""Who does it: the only room that knows Dask. The store comes in as an argument."""
