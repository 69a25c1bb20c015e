"""What surrounds a worker process: the backend's HTTP API, and for each instance its ComfyUI, its metadata service and
the storage behind pre-signed URLs. One server; an instance's part of it is below `/i/<instance>`."""
