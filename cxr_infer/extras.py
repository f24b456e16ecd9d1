"""Optional packages, and the command that installs them.

Messages never say `pip install 'cxr-infer[...]'`: that name is not on a package index, so anyone could register it.
"""

from __future__ import annotations

# those extras of pyproject.toml that a message can name; a test keeps both equal
EXTRAS = {
    "dicom": (
        "pydicom>=3",
        "pylibjpeg-libjpeg>=2.1",
        "pylibjpeg-openjpeg>=2.1",
        "pyjpegls>=1.5; python_version < '3.14'",
    ),
    "node": (
        "pynetdicom>=3.0.3",
        "python-multipart>=0.0.34",
        "pydicom>=3",
        "pylibjpeg-libjpeg>=2.1",
        "pylibjpeg-openjpeg>=2.1",
        "pyjpegls>=1.5; python_version < '3.14'",
    ),
    "cloud": ("fsspec>=2025.9", "s3fs>=2025.9"),
    "lab": ("matplotlib>=3.8", "PyWavelets>=1.6", "scikit-image>=0.24", "scipy>=1.13"),
    "ray": ("ray[client,data]>=2.50,<2.64",),
    "train": ("torch>=2.7", "safetensors>=0.4.5"),
    "export": ("torch>=2.8", "safetensors>=0.4.5", "onnx>=1.21", "onnxscript>=0.3", "PyYAML>=6"),
}

CPU_TORCH = "https://download.pytorch.org/whl/cpu"  # index of torch's builds without several gigabytes of CUDA


def missing_package(package: str, command: str) -> str:
    """Return the message about a package that is not installed. command: from `install_command`."""
    smaller = f" (on Linux without a GPU, first install it from {CPU_TORCH})" if package == "torch" else ""
    return f"{package} is not installed{smaller}; run: {command}"


def install_command(extra: str, *more: str) -> str:
    """Return the command that installs the packages of an extra, and `more` packages, in any shell.

    Requirements are in double quotes, which sh, PowerShell and cmd understand; an unquoted `>` would write a file.
    """
    packages = " ".join(f'"{package}"' for package in (*EXTRAS[extra], *more))
    return f"pip install {packages}"
