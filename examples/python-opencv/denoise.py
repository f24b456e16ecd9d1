"""Run the models in OpenCV's network module: the graph on its test tensors, then whole images that are resized."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

WEIGHTS = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "weights"


def load(array):
    return np.load(WEIGHTS / array["npy"])


def run(network, inputs):
    """Run a network. inputs: by name, as described in the manifest. Returns (N, 1, H, W) float32."""
    for name, values in inputs.items():
        network.setInput(values, name)
    return network.forward("denoised").reshape(inputs["noisy"].shape)


def resized(image, height, width):
    """Resize by the step `resize` of the manifest."""
    fewer = height * width < image.size
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if fewer else cv2.INTER_CUBIC)


def estimate_differs(manifest):
    """Whether the ONNX noise estimate differs from the level in the manifest by more than the tolerance."""
    file, image = manifest["noise_estimate"], manifest["models"]["window"]["test"]["image"]
    network = cv2.dnn.readNetFromONNX(str(WEIGHTS / file["file"]))
    network.setInput(load(image["noisy"])[None, None], "noisy")
    difference = abs(network.forward("noise_level").item() / image["noise_level"] - 1)
    print(f"noise_level fp32: largest difference {difference:.1e}, at most {file['tolerance']:g}")
    return not difference <= file["tolerance"]


def main():
    manifest = json.loads((WEIGHTS / "manifest.json").read_text(encoding="utf-8"))
    failed = False
    for name, model in manifest["models"].items():
        test, steps = model["test"], {step["step"]: step for step in model["before"]}
        for precision, file in model["files"].items():
            network = cv2.dnn.readNetFromONNX(str(WEIGHTS / file["file"]))
            found = run(network, {key: load(array) for key, array in test["inputs"].items()})
            cases = {"": (found, test["expected"][precision]["denoised"])}
            if "resize" in steps:
                image, step = load(test["image"]["noisy"]), steps["resize"]
                small = run(network, {"noisy": resized(image, step["height"], step["width"])[None, None]})[0, 0]
                cases[" image"] = (np.clip(resized(small, *image.shape), 0, 1), test["image"]["expected"][precision])
            for case, (result, expected) in cases.items():
                difference = np.abs(result - load(expected)).max()
                print(f"{name} {precision}{case}: largest difference {difference:.1e}, at most {file['tolerance']:g}")
                failed |= not difference <= file["tolerance"]
    return failed | estimate_differs(manifest)


if __name__ == "__main__":
    sys.exit(main())
