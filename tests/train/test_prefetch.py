from __future__ import annotations

import multiprocessing
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from cxr_infer.errors import UsageError
from cxr_infer.model.installed import model_path
from cxr_train.config import TrainConfig
from cxr_train.data import XrayFiles, XrayImages
from cxr_train.prefetch import batches
from cxr_train.samples import WindowSamples


@pytest.mark.slow
def test_processes_and_a_thread_draw_the_same_batches(files: XrayFiles, small_config: TrainConfig) -> None:
    teacher = str(model_path("window", "fp32"))
    samples = WindowSamples(XrayImages(files.require("train")), replace(small_config, teacher=teacher))
    samples.batch(0)  # now images and a teacher are in memory; neither is sent to the processes
    drawn = []
    for workers in (0, 2):
        with closing(batches(samples, 5, workers)) as coming:
            drawn.append(list(islice(coming, 5)))
    for step, (ours, theirs) in enumerate(zip(*drawn, strict=True), start=5):
        expected = samples.batch(step)
        for batch in (ours, theirs):
            assert (batch.quantised, batch.pairs) == (expected.quantised, expected.pairs)
            for name in ("noisy", "clean", "told", "level", "shape", "weight", "taught"):
                assert torch.equal(getattr(batch, name), getattr(expected, name)), name


@pytest.mark.slow
def test_a_killed_process_is_reported_in_one_line(files: XrayFiles, small_config: TrainConfig) -> None:
    with closing(batches(WindowSamples(XrayImages(files.require("train")), small_config), 0, 1)) as coming:
        next(coming)
        for process in multiprocessing.active_children():
            process.kill()
        with pytest.raises(UsageError, match="--workers: a process was killed"):
            for _ in coming:
                pass


TRAINING = """
import os, signal, sys
from pathlib import Path
from threading import Timer
from cxr_train.config import TrainConfig
from cxr_train.data import XrayImages, find_xrays
from cxr_train.prefetch import batches
from cxr_train.samples import WindowSamples

if __name__ == "__main__":
    images = XrayImages(find_xrays(Path(sys.argv[1])).require("train"))
    coming = batches(WindowSamples(images, TrainConfig("window", batch=2, crop=32)), 0, 1)
    signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
    Timer(0.3, os.killpg, (0, signal.SIGINT)).start()  # while the process is being started
    next(coming)
    print("drawn", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow  # three processes import torch
def test_workers_ignore_ctrl_c_and_end_with_a_killed_training(data_directory: Path, tmp_path: Path) -> None:
    script = tmp_path / "training.py"
    script.write_text(TRAINING, encoding="utf-8")
    # the output ends only when the last process that could write to it has ended
    command = [sys.executable, script, data_directory]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, start_new_session=True)
    assert (ended.returncode, ended.stdout) == (-9, "interrupted\ndrawn\n"), ended.stderr
