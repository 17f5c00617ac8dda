"""The Open Inference Protocol (KServe's V2, as Triton and MLServer speak it) over HTTP, with binary tensors.

tensors    bytes and JSON on the wire  <->  arrays
inputs     named tensors               ->   rows of a model
outputs    answers of a model          ->   named tensors
"""

from app.errors import ErrorShape, Problem
from app.predictions.protocols.open_inference import endpoints
from app.predictions.protocols.protocol import Protocol


def _write(problem: Problem) -> dict[str, str]:
    return {"error": problem.detail}


PROTOCOL = Protocol(
    prefix="/v2/",
    routers=(endpoints.health, endpoints.router),
    error=ErrorShape(_write, {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}),
)
