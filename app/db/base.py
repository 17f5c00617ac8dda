"""What all tables have in common: their base class, and the types of their columns."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Double, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Id = String(64)
Name = String(200)


class Base(DeclarativeBase):
    """Base class of the tables, with the SQL types of their columns."""

    type_annotation_map = {float: Double, int: BigInteger, dict[str, Any]: Json, list[Any]: Json}  # noqa: RUF012
