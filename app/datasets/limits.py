"""Bounds that the service sets for what one upload holds."""

from pydantic import Field

from app.ml.data.spec import Frozen


class Limits(Frozen):
    """Bounds on what one upload may hold, so that no file exhausts a machine."""

    rows: int = Field(default=10_000_000, description="Most rows, or images.")
    columns: int = Field(default=4096, description="Most columns of a table.")
    cells: int = Field(default=100_000_000, description="Most rows times columns of a table.")
    canonical_bytes: int = Field(default=8 << 30, description="Most bytes that the prepared inputs take.")
    unpacked_bytes: int = Field(default=4 << 30, description="Most bytes that all members of an archive unpack to.")
    ratio: int = Field(default=200, description="Most bytes that one packed byte unpacks to.")
    ratio_free_bytes: int = Field(default=16 << 20, description="Archives that unpack to less skip the ratio rule.")
    members: int = Field(default=200_000, description="Most members of an archive.")
    member_bytes: int = Field(default=64 << 20, description="Most bytes of one image file.")
    pixels: int = Field(default=25_000_000, description="Most pixels of one image.")
    side: int = Field(default=10_000, description="Longest side of one image.")
    classes: int = Field(default=10_000, description="Most classes of a target, or categories of a column.")
    field_chars: int = Field(default=1 << 20, description="Longest field of a table, in characters.")
    text_bytes: int = Field(default=1 << 30, description="Most bytes of text, also of what a table unpacks to.")
    series_values: int = Field(default=1_000_000, description="Most steps times channels of one series.")
    removals_listed: int = Field(default=10_000, description="Removals that the report lists one by one.")
