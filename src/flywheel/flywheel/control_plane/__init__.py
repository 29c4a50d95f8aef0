"""The control plane: what robots ask and tell over HTTPS, on Starlette and uvicorn."""
