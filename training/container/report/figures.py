"""Figures as a person reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.jobs.algorithms import Knob

NONE = "\N{EN DASH}"  # where there is no figure


@dataclass(frozen=True)
class KeyFigure:
    """One large number. note: what it means, in a few words."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Setting:
    """One hyperparameter."""

    name: str
    value: Any
    default: Any
    doc: str

    @property
    def changed(self) -> bool:
        """Whether it is not the default."""
        return bool(self.value != self.default)


def settings_of(values: Mapping[str, Any], knobs: Mapping[str, Knob]) -> list[Setting]:
    """Each of the values, which are called as the knobs are."""
    return [Setting(name, value, knobs[name].default, knobs[name].doc) for name, value in values.items()]


def percent(share: float | None, digits: int = 2) -> str:
    return NONE if share is None else f"{100 * share:.{digits}f} %"


def number(value: Any) -> str:
    """Whole numbers with commas, others with four digits."""
    if value is None:
        return NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) or value.is_integer() else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """`1 h 02 min`, `3 min 20 s`, `12 s`."""
    if seconds is None:
        return NONE
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
