"""Request and response bodies of the Open Inference Protocol."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MAX_TENSORS = 20_000
MAX_DIMENSIONS = 8
Parameters = dict[str, Any]
Name = Annotated[str, Field(min_length=1, max_length=10_000)]
Size = Annotated[int, Field(ge=0, lt=2**31)]


class InputTensor(BaseModel):
    """A tensor of a request: its elements in `data`, in row-major order, or in the bytes after the JSON."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    shape: list[Size] = Field(max_length=MAX_DIMENSIONS)
    datatype: str = Field(max_length=20)
    parameters: Parameters = Field({}, description="binary_data_size: its bytes after the JSON.")
    data: list[Any] | None = Field(None, description="Its elements, flat or nested as the shape says.")


class RequestedOutput(BaseModel):
    """A tensor that the answer is to hold."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    parameters: Parameters = Field({}, description="binary_data: as bytes after the JSON; classification: the top k.")


class InferRequest(BaseModel):
    """Tensors to answer, all of which have equally many rows."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"inputs": [{"name": "inputs", "shape": [2, 2], "datatype": "FP64", "data": [1.4, 3.2, 4.7, 2.9]}]}
            ]
        },
    )

    id: Annotated[str, Field(max_length=1000)] | None = None
    parameters: Parameters = Field(
        {},
        description='binary_data_output: outputs as bytes, unless they say otherwise; unknown: "warn" or "refuse"; '
        "timeout: microseconds that the answer may take.",
    )
    inputs: list[InputTensor] = Field(min_length=1, max_length=MAX_TENSORS)
    outputs: list[RequestedOutput] | None = Field(
        None, max_length=MAX_TENSORS, description="Null: all outputs of the heads."
    )


class OutputTensor(BaseModel):
    """A tensor of an answer, without `data` where its bytes follow the JSON."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters | None = None
    data: list[Any] | None = None


class InferResponse(BaseModel):
    """The answer; `parameters.warnings` is a JSON text of what is doubtful."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[OutputTensor]


class TensorMetadata(BaseModel):
    """A tensor that a model takes or gives; -1 stands for the rows, and for what may vary."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters = Field({}, description="labels: what its last dimension counts.")


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str = "graftwork"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """What answers."""

    name: str = "graftwork"
    version: str
    extensions: list[str] = ["binary_tensor_data", "classification"]


class ServerLive(BaseModel):
    """The process answers."""

    live: bool = True


class ServerReady(BaseModel):
    """The service can answer."""

    ready: bool = True


class ModelReady(BaseModel):
    """The model is in memory, and has repeated its golden rows."""

    name: str
    ready: bool = True
