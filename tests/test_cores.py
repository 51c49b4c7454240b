"""How many cores a job may use: affinity, cgroups of both versions, and who asks."""

import subprocess
import sys

import pytest

from hybrid_pipeline import cores
from hybrid_pipeline.cores import cpu_quota, num_cores


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_job_bound_to_one_core_has_one():
    code = (
        "import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\n"
        "from hybrid_pipeline.cores import num_cores\n"
        "from hybrid_pipeline.kedro_ext.dask.runner import DaskRunner\n"
        "print(num_cores(), DaskRunner()._options.workers, DaskRunner(workers=3)._options.workers)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["1", "1", "3"], done.stderr


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/job\n", {"job/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/job\n", {"job/cpu.max": "max 100000\n"}, None),
        ("0::/a/job\n", {"a/job/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 0.5),
        ("0::/on/the/host\n", {"cpu.max": "300000 100000\n"}, 3.0),  # seen from a container
        (
            "4:cpu,cpuacct:/job\n0::/\n",
            {
                "cpu,cpuacct/job/cpu.cfs_quota_us": "150000",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            },
            1.5,
        ),
        ("4:cpuset:/job\n", {"cpu/job/cpu.cfs_quota_us": "150000"}, None),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("nonsense\n", {"cpu.max": "100000 100000"}, None),
        ("0::/\n", {"cpu.max": ""}, None),
    ],
)  # fmt: skip
def test_quota_of_both_versions_by_hand(tmp_path, own, files, quota):
    write(tmp_path / "own", own)
    for name, text in files.items():
        write(tmp_path / "mount" / name, text)
    assert cpu_quota(tmp_path / "own", tmp_path / "mount") == quota


def test_no_cgroups_no_limit(tmp_path):
    assert cpu_quota(tmp_path / "own", tmp_path) is None


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [(64, 2.0, 2), (64, 2.9, 2), (64, 0.5, 1), (1, 8.0, 1), (64, None, 64)],
)
def test_the_smaller_of_affinity_and_quota(monkeypatch, affinity, quota, expected):
    monkeypatch.setattr(cores, "_affinity", lambda: affinity)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert num_cores() == expected
