from __future__ import annotations

import os
from pathlib import Path

import pytest

from cxr_infer.model.hardware import available_cpus, cgroup_quota, cpu_name


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense\n"}, None),
        ({}, None),
    ],
)
def test_container_quotas_of_both_cgroup_versions_are_respected(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert cgroup_quota(tmp_path) == quota
    assert 1 <= available_cpus(tmp_path) <= (os.cpu_count() or 1)
    if quota is not None:
        assert available_cpus(tmp_path) <= max(1, quota + 0.5)


def test_affinity_is_respected() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert available_cpus() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_the_processor_has_a_name_with_or_without_the_kernels_list(tmp_path: Path) -> None:
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: avx2\n\nprocessor\t: 1\n")
    assert cpu_name(listed) == "Some CPU @ 2.00GHz"
    assert cpu_name(tmp_path / "missing")
