"""Run the models in OpenVINO on their test tensors."""

import json
import sys
from pathlib import Path

import numpy as np
import openvino
from openvino import properties

WEIGHTS = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "weights"

# without this, CPUs with bfloat16 compute in it, and differ by one or two gray levels of 255
EXACT = {properties.hint.inference_precision: openvino.Type.f32}


def load(array):
    return np.load(WEIGHTS / array["npy"])


def estimate_differs(core, manifest):
    """Whether the ONNX noise estimate differs from the level in the manifest by more than the tolerance."""
    file, image = manifest["noise_estimate"], manifest["models"]["window"]["test"]["image"]
    network = core.compile_model(core.read_model(WEIGHTS / file["file"]), "CPU", EXACT)
    found = network({"noisy": load(image["noisy"])[None, None]})["noise_level"]
    difference = abs(found[0] / image["noise_level"] - 1)
    print(f"noise_level fp32: largest difference {difference:.1e}, at most {file['tolerance']:g}")
    return not difference <= file["tolerance"]


def main():
    manifest = json.loads((WEIGHTS / "manifest.json").read_text(encoding="utf-8"))
    core, failed = openvino.Core(), False
    for name, model in manifest["models"].items():
        inputs = {key: load(array) for key, array in model["test"]["inputs"].items()}
        for precision, file in model["files"].items():
            expected = load(model["test"]["expected"][precision]["denoised"])
            # free shapes, and fixed shapes as in programs that know their image size
            for case in ("", " fixed"):
                network = core.read_model(WEIGHTS / file["file"])
                if case:
                    network.reshape({key: array.shape for key, array in inputs.items()})
                found = core.compile_model(network, "CPU", EXACT)(inputs)["denoised"]
                difference = np.abs(found - expected).max()
                print(f"{name} {precision}{case}: largest difference {difference:.1e}, at most {file['tolerance']:g}")
                failed |= not difference <= file["tolerance"]
    return failed | estimate_differs(core, manifest)


if __name__ == "__main__":
    sys.exit(main())
