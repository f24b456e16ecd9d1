"""Which files are X-rays, and how they are read and written."""
