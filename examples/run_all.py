#!/usr/bin/env python3
"""Build and run every example on the test tensors, and print the results as one table.

Needs cmake, g++, nlohmann-json3-dev and npm, and a Python with onnxruntime and OpenCV. Everything else goes to build/.
--write puts the table into README.md. Exit status 1 if an example fails.
"""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
WEIGHTS = HERE.parent / "weights"
MARKS = ("<!-- table -->\n", "<!-- end of table -->\n")
LINE = re.compile(r"^(\w+) (\w+)( image| fixed)?: largest difference (\S+), at most (\S+)$", re.MULTILINE)
COLUMNS = (
    *("original fp32", "new fp32", "window fp32", "window int8"),
    *("noise_level fp32", "whole image fp32", "whole image int8"),
)

NOISE_ESTIMATE = COLUMNS[4]

OPENVINO = "openvino==2026.4.1"


def call(*command: str | Path, cwd: Path = HERE) -> None:
    """Run a preparation step; show its output only if it fails."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}")


def with_openvino() -> Path:
    """Return a Python with OpenVINO."""
    folder = BUILD / "openvino"
    if not (folder / "bin" / "python").exists():
        call(sys.executable, "-m", "venv", folder)
        call(folder / "bin" / "python", "-m", "pip", "install", "--quiet", OPENVINO)
    return folder / "bin" / "python"


def node_folder() -> Path:
    """Return the folder with onnxruntime-node, installed by npm without the download of CUDA."""
    folder = BUILD / "node-onnxruntime"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "denoise.mjs", "png.mjs"):
        (folder / name).write_bytes((HERE / "node-onnxruntime" / name).read_bytes())
    os.environ["ONNXRUNTIME_NODE_INSTALL"] = "skip"
    call("npm", "install", "--no-audit", "--no-fund", cwd=folder)
    return folder


def web_program() -> Path:
    """Return the page's own steps, in the folder where npm installs onnxruntime-web."""
    call("npm", "ci", "--no-audit", "--no-fund", cwd=HERE / "web")
    return HERE / "web" / "denoise.mjs"


def built(name: str, *definitions: str) -> Path:
    """Build a C++ example and return its program."""
    folder = BUILD / name
    call("cmake", "-S", HERE / name, "-B", folder, "-D", "CMAKE_BUILD_TYPE=Release", *definitions)
    call("cmake", "--build", folder)
    return folder / "denoise"


def cpp_openvino() -> Path:
    code = "import openvino.utils; print(openvino.utils.get_cmake_path())"
    path = subprocess.run([with_openvino(), "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return built("cpp-openvino", "-D", f"CMAKE_PREFIX_PATH={path}")


def cpp_onnxruntime() -> Path:
    """Build with the system's onnxruntime, else with Debian 13's headers and the library from npm."""
    if Path("/usr/include/onnxruntime").is_dir():
        return built("cpp-onnxruntime")
    headers = BUILD / "onnxruntime-headers"
    if not headers.is_dir():
        call(HERE / "cpp-onnxruntime" / "fetch_headers", headers)
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    binaries = node_folder() / "node_modules" / "onnxruntime-node" / "bin" / "napi-v6" / "linux" / machine
    library = binaries / "libonnxruntime.so.1"
    include = headers / "usr" / "include" / "onnxruntime"
    return built("cpp-onnxruntime", "-D", f"ONNXRUNTIME_INCLUDE={include}", "-D", f"ONNXRUNTIME_LIBRARY={library}")


EXAMPLES = {
    "python-onnxruntime": lambda: [sys.executable, HERE / "python-onnxruntime" / "denoise.py"],
    "python-opencv": lambda: [sys.executable, HERE / "python-opencv" / "denoise.py"],
    "python-openvino": lambda: [with_openvino(), HERE / "python-openvino" / "denoise.py"],
    "cpp-openvino": lambda: [cpp_openvino()],
    "node-onnxruntime": lambda: ["node", node_folder() / "denoise.mjs"],
    "cpp-onnxruntime": lambda: [cpp_onnxruntime()],
    "web": lambda: ["node", web_program()],
}

# from a PNG to a PNG, in a folder with noisy.png and weights/
PNG_PROGRAMS = {
    "python-onnxruntime": lambda: [sys.executable, HERE / "python-onnxruntime" / "png.py"],
    "node-onnxruntime": lambda: ["node", node_folder() / "png.mjs"],
}

# always uses the shapes of its inputs
ALWAYS_FIXED = {"python-opencv"}


def run(name: str) -> tuple[dict[str, str], bool]:
    """Run an example; return its largest differences by column, and whether it failed."""
    done = subprocess.run([*EXAMPLES[name](), WEIGHTS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f"== {name}\n{done.stdout}", end="", flush=True)
    found: dict[str, str] = {}
    wrong = done.returncode != 0
    fixed = set()
    for model, precision, case, difference, most in LINE.findall(done.stdout):
        column = f"{'whole image' if case == ' image' else model} {precision}"
        fixed |= {column} if case == " fixed" else set()
        wrong |= not float(difference) <= float(most)  # also true for NaN, whatever the example's own check says
        found[column] = max(found.get(column, "0"), difference, key=size)
    wrong |= NOISE_ESTIMATE not in found
    return found, wrong or not set(COLUMNS[:4]) <= (found.keys() if name in ALWAYS_FIXED else fixed)


def copy_weights(target: Path) -> None:
    """Copy weights/ to a directory.

    Through a link, hatchling, which visits no directory twice, would find weights/ there and leave it out of an sdist.
    """
    if target.is_symlink():  # of an earlier version
        target.unlink()
    shutil.copytree(WEIGHTS, target, dirs_exist_ok=True)


def png_programs_differ() -> bool:
    """Whether the PNG programs fail, or differ by more than one gray level on the test image."""
    import cv2
    import numpy as np

    folder = BUILD / "png"
    folder.mkdir(parents=True, exist_ok=True)
    copy_weights(folder / "weights")
    noisy = np.load(WEIGHTS / "window" / "test" / "image.npy")
    cv2.imwrite(str(folder / "noisy.png"), np.rint(255 * noisy).astype(np.uint8))
    results = []
    for name, command in PNG_PROGRAMS.items():
        (folder / "denoised.png").unlink(missing_ok=True)
        done = subprocess.run(command(), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(f"== {name}, PNG to PNG: exit status {done.returncode}\n{done.stdout}", end="", flush=True)
        if done.returncode:
            return True
        results.append(cv2.imread(str(folder / "denoised.png"), cv2.IMREAD_UNCHANGED).astype(int))
    return any(result.shape != noisy.shape or np.abs(result - results[0]).max() > 1 for result in results)


def size(difference: str) -> float:
    """Return a difference as a comparable number; NaN is the largest."""
    return math.inf if math.isnan(float(difference)) else float(difference)


def main() -> int:
    rows = [f"| example | {' | '.join(COLUMNS)} |", "| --- |" + " ---: |" * len(COLUMNS)]
    failed = []
    for name in EXAMPLES:
        found, wrong = run(name)
        if wrong:
            failed.append(name)
        rows.append(f"| [{name}]({name}) | " + " | ".join(found.get(column, "") for column in COLUMNS) + " |")
    if png_programs_differ():
        failed.append("PNG to PNG")
    table = "\n".join(rows) + "\n"
    print(f"\n{table}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    elif "--write" in sys.argv:
        readme = HERE / "README.md"
        text = readme.read_text(encoding="utf-8")
        before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
        readme.write_text(before + MARKS[0] + table + MARKS[1] + after, encoding="utf-8")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
