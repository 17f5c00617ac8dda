"""What train rows decide of heads, before anything is learned: a target's transform, and how categories are encoded."""

from typing import Any

import torch

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import Examples, InMemory
from app.ml.fitting.evaluation import features_of
from app.ml.models.assembly import FineTuning, stacked
from app.ml.spec import Decision

_MAX_ROWS = 500


@torch.no_grad()
def settle_heads(
    config: ResolvedFineTuning, objective: FineTuning, train: Examples
) -> tuple[ResolvedFineTuning, list[Decision]]:
    """Settle the heads of an objective that are not inherited; return the config that says so, and the decisions."""
    few = torch.linspace(0, len(train) - 1, min(_MAX_ROWS, len(train))).long()  # evenly spread
    decisions: list[Decision] = []
    heads = list(config.heads)

    def features() -> torch.Tensor:
        rows = train.inputs.take(few)
        if objective.strategy.caches_features:
            return rows
        return features_of(objective, Examples(InMemory(rows), {}))

    for index, head in enumerate(objective.each_head()):
        if not heads[index].needs_labels or heads[index].key in config.inherited_heads:
            continue
        by_features = head.settled_by_features(objective.backbone.categories)
        if by_features is not None:
            heads[index], choices = by_features  # type: ignore[call-overload]
            head.settle(heads[index])
            decisions += [_encoded(index, name, value, reason) for name, (value, reason) in choices.items()]
        target = stacked(heads[index], train.targets)[few.to(train.targets[heads[index].targets[0]].device)]
        settled = head.settled_by_labels(features, target)
        if settled is None:
            continue
        chosen, reason = settled
        head.settle(chosen)
        for name, value in chosen:
            if value != getattr(heads[index], name):
                option = f'`"{name}": "none"` of the head'
                decisions.append(Decision(field=f"heads.{index}.{name}", value=value, reason=reason, option=option))
        heads[index] = chosen  # type: ignore[call-overload]
    objective.configs = tuple(heads)
    objective.train()
    return config.model_copy(update={"heads": tuple(heads)}), decisions


def _encoded(index: int, name: str, value: Any, reason: str) -> Decision:
    option = '`"target_encoding": []` of the estimator gives each category a feature of its own'
    return Decision(field=f"heads.{index}.{name}", value=value, reason=reason, option=option)
