"""What aliases, their changes and their shadows' reports look like in answers."""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from app.aliases import repository
from app.aliases.comparison import Counts
from app.aliases.repository import AliasChangeRow, AliasRow, ShadowReportRow
from app.aliases.schemas import Alias, AliasChange, Comparison, HeadComparison, Shadow, WeightedVersion
from app.aliases.traffic import Traffic, traffic_of


def meaning_of(change: AliasChangeRow) -> Traffic:
    """Return what an alias meant from a change on that did not delete it."""
    return traffic_of(str(change.model_id), change.traffic)


def aliases_of(session: Session, rows: list[AliasRow]) -> list[Alias]:
    """Return aliases as they are answered."""
    meanings = [traffic_of(row.model_id, row.traffic) for row in rows]
    versions = repository.versions_of(session, {model for traffic in meanings for model in traffic.models})
    return [
        Alias(
            name=row.name,
            alias=row.alias,
            model=row.model_id,
            version=versions[row.model_id],
            versions=_weighted(traffic, versions),
            shadow=_shadow(traffic, versions),
            revision=row.revision,
            updated_at=row.updated_at,
        )
        for row, traffic in zip(rows, meanings, strict=True)
    ]


def _weighted(traffic: Traffic, versions: Mapping[str, int]) -> list[WeightedVersion]:
    return [WeightedVersion(model=m, version=versions[m], weight=weight) for m, weight in traffic.weights]


def _shadow(traffic: Traffic, versions: Mapping[str, int]) -> Shadow | None:
    if traffic.shadow is None:
        return None
    return Shadow(model=traffic.shadow, version=versions[traffic.shadow], share=traffic.shadow_share)


def only_change(row: AliasRow) -> AliasChangeRow:
    """Return an alias of an earlier release, whose history is not kept, as its only change."""
    return AliasChangeRow(
        revision=row.revision,
        action="set",
        model_id=row.model_id,
        traffic=row.traffic,
        restores=None,
        changed_at=row.updated_at,
    )


def change_of(row: AliasChangeRow, versions: Mapping[str, int]) -> AliasChange:
    """Return a change as it is answered; `versions` are those of the models that it names, by id."""
    traffic = meaning_of(row) if row.model_id else None
    return AliasChange.model_validate(
        {
            "revision": row.revision,
            "action": row.action,
            "model": row.model_id,
            "version": versions.get(row.model_id or ""),
            "versions": _weighted(traffic, versions) if traffic else [],
            "shadow": _shadow(traffic, versions) if traffic else None,
            "restores": row.restores,
            "changed_at": row.changed_at,
        }
    )


def comparison_of(row: ShadowReportRow, versions: Mapping[str, int]) -> Comparison:
    """Return a report as it is answered; `versions` are those of both models, by id."""
    counts = Counts.model_validate(row.counts)
    return Comparison.model_validate(
        {
            "model": row.model_id,
            "version": versions.get(row.model_id),
            "shadow": row.shadow_id,
            "shadow_version": versions.get(row.shadow_id),
            **counts.model_dump(include={"requests", "rows", "dropped", "errors"}),
            "mean_seconds": _share(counts.seconds, counts.requests),
            "shadow_mean_seconds": _share(counts.shadow_seconds, counts.requests),
            "heads": {
                key: HeadComparison(
                    rows=head.rows,
                    disagreement=_share(head.disagreements, head.labelled),
                    mean_absolute_difference=_share(head.difference, head.rows),
                )
                for key, head in counts.heads.items()
            },
            "updated_at": row.updated_at,
        }
    )


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None
