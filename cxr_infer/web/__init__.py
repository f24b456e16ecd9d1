"""The page that denoises in a browser, and the server that hands it out."""
