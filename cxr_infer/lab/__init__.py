"""The image-quality lab: measures, task by task and with uncertainties, what a denoiser preserves, removes and
invents.
"""
