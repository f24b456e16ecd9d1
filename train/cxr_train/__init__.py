"""Train the three denoising autoencoders on clean chest X-rays."""
