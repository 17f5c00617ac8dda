"""A model as an ML backend: its answers as results of choices, and annotations as labelled rows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from app.dependencies import Services
from app.errors import ErrorItem, UnprocessableError
from app.labelling import service as labelling
from app.labelling.repository import Collection
from app.ml.interfaces.doubts import Doubts
from app.ml.spec import WarningItem
from app.predictions import service as predictions
from app.predictions.protocols.label_studio.label_config import Question, question_for, questions_of
from app.predictions.protocols.label_studio.schemas import (
    Annotation,
    PredictRequest,
    PredictResponse,
    Result,
    SetupRequest,
    TaskPrediction,
    WebhookEvent,
    WebhookResponse,
)
from app.predictions.protocols.label_studio.tasks import rows_of
from app.predictions.resolution import ResolvedModel, load, resolve

ANNOTATED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
TRAIN = "START_TRAINING"


def set_up(state: Services, project_id: str, ref: str, request: SetupRequest) -> str:
    """Return the version that answers. Raises UnprocessableError where it does not fit the project's choices."""
    model = resolve(state, project_id, ref)
    if request.label_schema is not None:
        question_for(questions_of(request.label_schema), _heads(state, model))
    return _version(model)


def predict(state: Services, project_id: str, ref: str, request: PredictRequest) -> PredictResponse:
    """Answer tasks.

    Raises:
        NotFoundError: there is no such model.
        UnprocessableError: the config or a task cannot be read, or the model answers none of the project's choices.
    """
    model = resolve(state, project_id, ref)
    version = _version(model)
    question, head = question_for(questions_of(request.label_config), _heads(state, model))
    if head is None:
        empty = [TaskPrediction(result=[], score=0, model_version=version) for _ in request.tasks]
        note = "the model has no head yet: it answers once annotations have come"
        return PredictResponse(results=empty, model_version=version, warnings=[note])
    rows = rows_of(state.settings, model.modality, question, [task.model_dump() for task in request.tasks])
    doubts: list[WarningItem] = []
    with _of_tasks():
        blocks = list(predictions.predicted_blocks(state, project_id, model, rows, "warn", doubts))
    answers = [answer[head] for block in blocks for answer in block]
    if not {"class", "labels"} & answers[0].keys():
        msg = f"the head {head!r} answers no classes, and the project asks for choices: use a model with a classifier"
        raise UnprocessableError(msg, code="config_does_not_fit")
    results = [_prediction(question, answer, version) for answer in answers]
    return PredictResponse(results=results, model_version=version, warnings=[doubt.message for doubt in doubts])


def _prediction(question: Question, answer: Mapping[str, Any], version: str) -> TaskPrediction:
    """Return an answer as a result; what is no choice of the project is left out, because it would be refused whole."""
    labels = answer["labels"] if "labels" in answer else [answer["class"]] if "class" in answer else []
    probabilities: Mapping[str, float] = answer.get("probabilities", {})
    known = [label for label in labels if question.is_a_choice(label)]
    score = min((probabilities.get(label, 0.0) for label in known), default=0.0)
    chosen = Result(from_name=question.name, to_name=question.object, value={"choices": known}, score=score)
    return TaskPrediction(result=[chosen] if known else [], score=score, model_version=version)


def take(state: Services, project_id: str, ref: str, event: WebhookEvent) -> WebhookResponse:
    """Keep what an event says of labels, and learn.

    Raises:
        NotFoundError: there is no such model.
        ConflictError: the reference is no bare name.
        UnprocessableError: the config or the task cannot be read, or the rows cannot be learned.
    """
    if event.project is None:
        return WebhookResponse(action=event.action, reason="the event names no project")
    collection = labelling.collection_of(state, project_id, ref, f"label-studio {event.project.id}")
    if event.action in ("ANNOTATIONS_DELETED", "TASKS_DELETED"):
        tasks = [str(task.id) for task in event.tasks or [] if task.id is not None]
        gone = [str(item.id) for item in event.annotations or [] if item.id is not None]
        count = labelling.forget(state, collection, tasks=tasks, annotations=gone)
        return WebhookResponse(action=event.action, reason=f"{count} rows were forgotten")
    if event.action not in (*ANNOTATED, TRAIN) or event.project.label_config is None:
        return WebhookResponse(action=event.action, reason="the event says nothing of labels")
    model = resolve(state, project_id, ref)
    questions = questions_of(event.project.label_config)
    question = next((item for item in questions if item.name in _heads(state, model)), questions[0])
    if event.action in ANNOTATED:
        _keep(state, collection, model, question, event)
    learned = labelling.learn(state, collection, question.name, at_once=event.action == TRAIN)
    made = learned.model
    return WebhookResponse(
        action=event.action,
        rows=learned.rows,
        model_version=None if made is None else f"{made.name}@{made.version}",
        reason=learned.reason,
        warnings=[] if made is None else [warning.message for warning in made.warnings],
    )


def _keep(
    state: Services, collection: Collection, model: ResolvedModel, question: Question, event: WebhookEvent
) -> None:
    """Keep the label of a task, or forget the task's where it was skipped or answers another question."""
    annotation, task = event.annotation, event.task
    if not isinstance(annotation, Annotation) or task is None or task.id is None:
        return
    label = _label(question, annotation)
    if label is None:
        labelling.forget(state, collection, tasks=[str(task.id)], annotations=[])
        return
    (row,) = rows_of(state.settings, model.modality, question, [task.model_dump()])
    with _of_tasks():  # a row that cannot be read would keep all others from being learned
        predictions.decoded(load(state, model).model, [row], Doubts(), "warn")
    labelling.keep(state, collection, str(task.id), str(annotation.id), row, label)


@contextmanager
def _of_tasks() -> Iterator[None]:
    """Name rows that cannot be read by their tasks' places in this request."""
    try:
        yield
    except UnprocessableError as error:
        items = [ErrorItem(loc=["body", "tasks", *item.loc[1:]], msg=item.msg) for item in error.errors]
        if not items:
            raise
        msg = f"{'.'.join(map(str, items[0].loc[1:]))}: {items[0].msg}"
        raise UnprocessableError(msg, code=error.code, errors=items) from None


def _label(question: Question, annotation: Annotation) -> Any:
    """Return what a person chose: a class, or a list where several may be; None where nothing."""
    if annotation.was_cancelled:
        return None
    for item in annotation.result or []:
        chosen = item.get("value", {}).get("choices") if item.get("from_name") == question.name else None
        if item.get("type") == "choices" and isinstance(chosen, list) and chosen:
            return [str(label) for label in chosen] if question.is_multiple else str(chosen[0])
    return [] if question.is_multiple and annotation.result == [] else None


def _heads(state: Services, model: ResolvedModel) -> list[str]:
    """Return the heads of a model."""
    return list(load(state, model).model.heads) if model.has_heads else []


def _version(model: ResolvedModel) -> str:
    return f"{model.name.name}@{model.name.version}"
