import cv2
import numpy as np
import onnxruntime

estimate, window = (onnxruntime.InferenceSession(f"weights/{name}.onnx") for name in ("noise_level", "window/model"))
pixels = cv2.imread("noisy.png", cv2.IMREAD_UNCHANGED)  # (H, W) uint8 or uint16, black is 0
white = np.float32(np.iinfo(pixels.dtype).max)
image = pixels / white  # (H, W) float32 in [0, 1]
(level,) = estimate.run(None, {"noisy": image[None, None]})  # (1,) float32
padded = np.pad(image, [(0, -side % 16) for side in image.shape], "symmetric")
(denoised,) = window.run(None, {"noisy": padded[None, None], "noise_level": level})  # (1, 1, H, W) float32 in [0, 1]
denoised = denoised[0, 0, : image.shape[0], : image.shape[1]]
cv2.imwrite("denoised.png", np.rint(denoised * white).astype(pixels.dtype))
