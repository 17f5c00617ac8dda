"""Label Studio's contract of ML backends: its projects ask our models, and what people annotate is learned.

label_config   the XML of a project    ->   the question that people answer, and where tasks hold the row
tasks          data of tasks           ->   rows of a model
answers        predictions             ->   results of Label Studio
"""

from app.errors import ErrorShape, Problem
from app.predictions.protocols.label_studio import endpoints
from app.predictions.protocols.protocol import Protocol


def _write(problem: Problem) -> dict[str, str]:
    return {"error": problem.detail}


PROTOCOL = Protocol(
    prefix="/label-studio/",
    routers=(endpoints.router,),
    error=ErrorShape(_write, {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}),
    takes_basic=True,
)
