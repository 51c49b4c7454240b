import os
import time

import dask
import distributed
import pytest

from hybrid_pipeline.kedro_ext.dask.cluster import ClusterOptions, workers_for

IDLE_S = 3.0


@pytest.mark.slow
def test_workers_keep_freed_memory_run_one_thread_and_rest_when_idle():
    default = dask.config.get("distributed.nanny.pre-spawn-environ")
    with workers_for(ClusterOptions(workers=1), needs_gpu=False) as client:
        environment = client.submit(lambda: dict(os.environ)).result(timeout=60)
        began = time.process_time(), _worker_cpu(client)
        time.sleep(IDLE_S)
        driver, worker = time.process_time() - began[0], _worker_cpu(client) - began[1]
    assert "MALLOC_TRIM_THRESHOLD_" in default  # what would be set without us
    assert "MALLOC_TRIM_THRESHOLD_" not in environment
    assert environment["OMP_NUM_THREADS"] == "1"
    assert driver + worker < 0.02 * IDLE_S  # by Dask's defaults about .06 of a core


def _worker_cpu(client: "distributed.Client") -> float:
    return client.submit(time.process_time, pure=False).result(timeout=60)
