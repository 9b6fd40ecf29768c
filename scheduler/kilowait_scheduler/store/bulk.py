"""Statements for many rows: inserts that leave what is there as it is, and names in parts that a query may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel

_ROWS_A_STATEMENT = 125  # of 15 columns: SQLite may be built to take no more than 2,000 values or so


def insert_new(session: Session, table: type[SQLModel], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, leaving those whose key is there already as they are."""
    if not rows:
        return
    target: Table = table.__table__  # type: ignore[attr-defined]
    session.execute(insert_into(session, target).on_conflict_do_nothing(), list(rows))


def insert_into(session: Session, target: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that can say what to do about rows that are there, in the words of the session's database."""
    return (postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert)(target)


def insert_columns(session: Session, table: type[SQLModel], columns: Mapping[str, Sequence[Any]]) -> None:
    """Insert rows, given by column as the driver takes them, leaving those whose key is there already.

    Straight to the driver: for thousands of rows a second, building each through the ORM costs more than the database.
    PostgreSQL takes whole columns as arrays, in its own binary form, at half the cost of one row after another; SQLite
    many rows in a statement, at two thirds, and in one step: between two steps other threads take turns.
    """
    target: Table = table.__table__  # type: ignore[attr-defined]
    values = [columns[column.name] for column in target.columns]
    if not values[0]:
        return
    connection = session.connection()
    names = ", ".join(f'"{column.name}"' for column in target.columns)
    insert = f'INSERT INTO "{target.name}" ({names})'  # our own names
    if connection.dialect.name == "postgresql":
        arrays = ", ".join(f"%b::{column.type.compile(connection.dialect)}[]" for column in target.columns)
        select = f"SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"  # noqa: S608
        connection.exec_driver_sql(f"{insert} {select}", tuple(map(list, values)))
        return
    row = f"({', '.join(['?'] * len(values))})"
    for start in range(0, len(values[0]), _ROWS_A_STATEMENT):
        parts = [column[start : start + _ROWS_A_STATEMENT] for column in values]
        flat: list[Any] = [None] * (len(parts) * len(parts[0]))
        for place, part in enumerate(parts):
            flat[place :: len(parts)] = part
        several = f"{insert} VALUES {', '.join([row] * len(parts[0]))} ON CONFLICT DO NOTHING"
        connection.exec_driver_sql(several, tuple(flat))


def batches(ids: Sequence[str], *, most: int = 500) -> Iterator[Sequence[str]]:
    """`ids` in parts that a query may name: databases limit its length."""
    for start in range(0, len(ids), most):
        yield ids[start : start + most]
