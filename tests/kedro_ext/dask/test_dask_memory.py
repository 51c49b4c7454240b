import os

import dask
import distributed  # noqa: F401 - loads its configuration
import pytest

from hybrid_pipeline.kedro_ext.dask.cluster import ClusterOptions, workers_for


@pytest.mark.slow
def test_workers_keep_freed_memory_and_run_one_thread():
    default = dask.config.get("distributed.nanny.pre-spawn-environ")
    with workers_for(ClusterOptions(workers=1), needs_gpu=False) as client:
        environment = client.submit(lambda: dict(os.environ)).result(timeout=60)
    assert "MALLOC_TRIM_THRESHOLD_" in default  # what would be set without us
    assert "MALLOC_TRIM_THRESHOLD_" not in environment
    assert environment["OMP_NUM_THREADS"] == "1"
