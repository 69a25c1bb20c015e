"""The GPU worker: pulls jobs from the backend over HTTP and runs them on the ComfyUI beside it."""

__version__ = "1.0.0"
