"""Preprocessing of numbers as modules, so that it can be part of an exported graph.

Each computes what its modality's `encode` computes; a test holds them to it.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from app.ml.data.date_parts import PLACES
from app.ml.data.moments import MIN_DEVIATION
from app.ml.data.words import CODES
from app.ml.kinds.modalities.column_blocks import MAX_DEVIATIONS
from app.ml.kinds.modalities.column_kinds import AnyColumn, cells_at
from app.ml.kinds.modalities.columns import CategoryColumn, DateColumn, NumberColumn
from app.ml.kinds.modalities.text_column import TextColumn

_PIXEL = 255.0
_MIN_LENGTH = 1e-6


class ImageEncoder(nn.Module):
    """uint8 (N, H, W, C) to float32 (N, C, H, W) in [0, 1]."""

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, H, W, C) to (N, C, H, W)."""
        return pixels.permute(0, 3, 1, 2).float() / _PIXEL


class SeriesEncoder(nn.Module):
    """float64 (N, T, C) to float32 (N, C + 1, T); without `scale` (mean, std), each (C,), by the series' own values."""

    mean: Tensor
    std: Tensor

    def __init__(self, scale: tuple[Sequence[float], Sequence[float]] | None) -> None:
        super().__init__()
        self.scales_itself = scale is None
        mean, std = scale or ((), ())
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64))

    def forward(self, values: Tensor) -> Tensor:
        """(N, T, C) to (N, C + 1, T)."""
        missing = values.isnan()
        known = torch.where(missing, 0.0, values)
        mean, std = self._own_scale(known, missing) if self.scales_itself else (self.mean, self.std)
        scaled = ((known - mean) / std).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
        observed = (~missing).any(2, keepdim=True)
        together = torch.cat((torch.where(missing, 0.0, scaled), observed.double()), dim=2)
        return together.transpose(1, 2).float()

    def _own_scale(self, known: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each series and channel, (N, 1, C)."""
        count = (~missing).sum(1, keepdim=True).clamp(min=1)
        mean = known.sum(1, keepdim=True) / count
        squares = torch.where(missing, 0.0, known - mean) ** 2
        std = (squares.sum(1, keepdim=True) / count).sqrt()
        return mean, torch.where(std > MIN_DEVIATION * mean.abs(), std, 1.0)


class TableEncoder(nn.Module):
    """float64 (N, D) to float32 (N, D'), all columns of a type together.

    The features are computed type by type, and `order` (D',) brings them into that of the columns.
    """

    order: Tensor

    def __init__(self, columns: Sequence[AnyColumn]) -> None:
        super().__init__()
        starts = list(accumulate((column.width for column in columns), initial=0))
        ranged = [place for place, column in enumerate(columns) if isinstance(column, NumberColumn | DateColumn)]
        dated = [place for place, column in enumerate(columns) if isinstance(column, DateColumn)]
        named = [place for place, column in enumerate(columns) if isinstance(column, CategoryColumn)]
        texts = [(place, column) for place, column in enumerate(columns) if isinstance(column, TextColumn)]
        unnamed = [place for place, column in enumerate(columns) if not isinstance(column, CategoryColumn)]
        parts = [
            (_Scaled(columns, ranged), [starts[place] for place in ranged]),
            (_Missing(columns, unnamed), [starts[p] + columns[p].width - 1 for p in unnamed if columns[p].had_missing]),
            (_Cycles(columns, dated), _Cycles.features_of(columns, dated, starts)),
            (_OneHot(columns, named), [starts[p] + code for p in named for code in range(columns[p].width - 1)]),
            (_Unknown(columns, named), [starts[p] + columns[p].width - 1 for p in named]),
            *(
                (
                    _Words(text, place, cells_at(len(columns), number)),
                    [starts[place] + k for k in range(text.dimensions)],
                )
                for number, (place, text) in enumerate(texts)
            ),
        ]
        used = [(part, features) for part, features in parts if features]
        self.parts = nn.ModuleList(part for part, _ in used)
        order = torch.tensor([feature for _, features in used for feature in features]).argsort()
        self.register_buffer("order", order)

    def forward(self, rows: Tensor) -> Tensor:
        """(N, D) to (N, D')."""
        features = torch.cat([part(rows) for part in self.parts], dim=1)
        return features.index_select(1, self.order)


class _Columns(nn.Module):
    """Some columns: their values are (N, d)."""

    places: Tensor

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64))

    def values(self, rows: Tensor) -> Tensor:
        """(N, D) to (N, d)."""
        return rows.index_select(1, self.places)


class _Scaled(_Columns):
    mean: Tensor
    std: Tensor

    def __init__(self, columns: Sequence[AnyColumn], places: Sequence[int]) -> None:
        super().__init__(places)
        chosen = [column for column in (columns[p] for p in places) if isinstance(column, NumberColumn | DateColumn)]
        self.register_buffer("mean", torch.tensor([column.mean for column in chosen], dtype=torch.float64))
        self.register_buffer("std", torch.tensor([column.std for column in chosen], dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        values = self.values(rows)
        scaled = ((values - self.mean) / self.std).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
        return torch.where(values.isnan(), 0.0, scaled).float()


class _Missing(_Columns):
    """Which of those columns are missing that were, in training."""

    def __init__(self, columns: Sequence[AnyColumn], places: Sequence[int]) -> None:
        super().__init__([place for place in places if columns[place].had_missing])

    def forward(self, rows: Tensor) -> Tensor:
        return self.values(rows).isnan().float()


class _Cycles(_Columns):
    """Sine and cosine of each harmonic of each date's place in each of its periods; 0 where it is missing."""

    harmonic: Tensor

    def __init__(self, columns: Sequence[AnyColumn], places: Sequence[int]) -> None:
        cycles = [(place, *cycle) for place in places for cycle in _cycles(columns[place])]
        super().__init__([place for place, _, _ in cycles])
        self.names = [name for _, name, _ in cycles]
        self.register_buffer("harmonic", torch.tensor([of for _, _, of in cycles], dtype=torch.float64))

    @staticmethod
    def features_of(columns: Sequence[AnyColumn], places: Sequence[int], starts: Sequence[int]) -> list[int]:
        """Return the features: all sines, then all cosines."""
        sines = [starts[place] + 1 + 2 * k for place in places for k in range(len(_cycles(columns[place])))]
        return [*sines, *(sine + 1 for sine in sines)]

    def forward(self, rows: Tensor) -> Tensor:
        values = self.values(rows)
        missing = values.isnan()
        days = torch.where(missing, 0.0, values)
        # In [0, 1), as a share of the period; float32 is as good from here on, and every runtime has its sine.
        each = [PLACES[name](days[:, place], torch.floor) for place, name in enumerate(self.names)]
        share = torch.stack(each, dim=1) * self.harmonic
        angle = (2 * torch.pi * (share - share.floor())).float()
        cycles = torch.cat((angle.sin(), angle.cos()), dim=1)
        return torch.where(torch.cat((missing, missing), dim=1), 0.0, cycles)


class _OneHot(_Columns):
    """1 where a column has a code, for each of the codes that train rows had; the others' features stay 0."""

    codes: Tensor

    def __init__(self, columns: Sequence[AnyColumn], places: Sequence[int]) -> None:
        pairs = [(place, code) for place in places for code in range(columns[place].width - 1)]
        super().__init__([place for place, _ in pairs])
        seen = [math.nan if code in _unseen(columns[place]) else code for place, code in pairs]  # NaN equals nothing
        self.register_buffer("codes", torch.tensor(seen, dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        return (self.values(rows) == self.codes).float()


class _Unknown(_Columns):
    """1 where a category is missing or no train row had it, in those columns that lacked some in training."""

    counts: Tensor
    had_missing: Tensor
    unseen_columns: Tensor
    unseen_codes: Tensor
    belongs: Tensor

    def __init__(self, columns: Sequence[AnyColumn], places: Sequence[int]) -> None:
        super().__init__(places)
        self.register_buffer("counts", torch.tensor([columns[p].width - 1 for p in places], dtype=torch.float64))
        self.register_buffer("had_missing", torch.tensor([float(columns[place].had_missing) for place in places]))
        # A pair for each code that no train row had, and in which of these columns it is.
        pairs = [(index, code) for index, place in enumerate(places) for code in sorted(_unseen(columns[place]))]
        self.register_buffer("unseen_columns", torch.tensor([places[index] for index, _ in pairs], dtype=torch.int64))
        self.register_buffer("unseen_codes", torch.tensor([code for _, code in pairs], dtype=torch.float64))
        belongs = torch.zeros(len(pairs), len(places))
        belongs[range(len(pairs)), [index for index, _ in pairs]] = 1.0
        self.register_buffer("belongs", belongs)

    def forward(self, rows: Tensor) -> Tensor:
        values = self.values(rows)
        known = ((values >= 0) & (values < self.counts)).float()  # NaN compares false
        if len(self.unseen_codes):
            hits = (rows.index_select(1, self.unseen_columns) == self.unseen_codes).float()
            known = known - hits @ self.belongs
        return (1.0 - known) * self.had_missing


class _Words(nn.Module):
    """Tf-idf of the words of a column of texts, reduced to some dimensions; 0 where the text is missing."""

    weight: Tensor
    weighted: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, column: TextColumn, place: int, cells: slice) -> None:
        super().__init__()
        self.place, self.cells = place, cells
        words = column.words
        self.register_buffer("weight", torch.from_numpy(words.weight))
        self.register_buffer("weighted", torch.from_numpy(words.weight[:, None] * words.vectors))
        self.register_buffer("mean", torch.from_numpy(words.mean))
        self.register_buffer("std", torch.from_numpy(words.std))

    def forward(self, rows: Tensor) -> Tensor:
        cells = rows[:, self.cells]
        codes = torch.where(cells.isnan(), float(CODES), cells).long()  # (N, 128); the last code has no weight
        flat = codes.flatten()
        lengths = self.weight.index_select(0, flat).reshape(codes.shape).square().sum(1, keepdim=True).sqrt()
        vectors = self.weighted.index_select(0, flat).reshape(*codes.shape, -1).sum(1)
        features = (vectors / lengths.clamp(min=_MIN_LENGTH) - self.mean) / self.std
        return torch.where(rows[:, self.place : self.place + 1].isnan(), 0.0, features)


def _cycles(column: AnyColumn) -> tuple[tuple[str, int], ...]:
    return column.cycles if isinstance(column, DateColumn) else ()


def _unseen(column: AnyColumn) -> frozenset[int]:
    return frozenset(column.unseen if isinstance(column, CategoryColumn) else ())
