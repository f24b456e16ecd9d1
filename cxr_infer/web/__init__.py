"""The page that denoises in a browser, and its server."""
