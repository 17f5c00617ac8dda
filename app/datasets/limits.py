"""Bounds that the service sets for what one upload holds."""

from pydantic import Field

from app.ml.spec import Frozen


class Limits(Frozen):
    """Upper bounds for one upload, so that no file exhausts a machine."""

    rows: int = Field(default=10_000_000, description="Maximum rows, or images.")
    columns: int = Field(default=4096, description="Maximum columns of a table.")
    cells: int = Field(default=100_000_000, description="Maximum rows times columns of a table.")
    canonical_bytes: int = Field(default=8 << 30, description="Maximum bytes of the prepared inputs.")
    shard_bytes: int = Field(
        default=256 << 20, description="Bytes of prepared inputs above which they are stored in shards of this size."
    )
    unpacked_bytes: int = Field(default=4 << 30, description="Maximum bytes of all members of an archive, unpacked.")
    ratio: int = Field(default=200, description="Maximum unpacked bytes per packed byte of an archive.")
    ratio_free_bytes: int = Field(default=16 << 20, description="Archives of fewer unpacked bytes are free of `ratio`.")
    members: int = Field(default=200_000, description="Maximum members of an archive.")
    member_bytes: int = Field(default=64 << 20, description="Maximum bytes of one image file.")
    pixels: int = Field(default=25_000_000, description="Maximum pixels of one image.")
    side: int = Field(default=10_000, description="Maximum height or width of one image.")
    classes: int = Field(default=10_000, description="Maximum classes of a target, or categories of a column.")
    field_chars: int = Field(default=1 << 20, description="Maximum characters of one field of a table.")
    text_bytes: int = Field(default=1 << 30, description="Maximum bytes of text, also of an unpacked table.")
    series_values: int = Field(default=1_000_000, description="Maximum steps times channels of one series.")
    removals_listed: int = Field(default=10_000, description="Maximum removals that the report lists one by one.")
