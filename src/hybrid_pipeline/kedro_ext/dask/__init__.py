"""Dask: a runner, its cluster and its workers."""
