"""The image-quality lab: what a denoiser keeps, removes and invents, measured task by task, with uncertainties."""
