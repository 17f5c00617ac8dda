"""Models in files that need nothing of the service: a package of safetensors with a small loader, and ONNX.

Both come from one graph (`graph`), and neither is offered before it has answered the model's golden rows (`golden`).
"""
