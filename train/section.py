"""What every table of a TOML file is: frozen, typed, without unknown keys; numbers and paths as a user writes them."""

from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Strict, model_serializer, model_validator

from train.textfiles import with_home

T = TypeVar("T")
Several = Annotated[tuple[T, ...], Strict(False)]
"""A tuple that a file may write as a list; what stands in it stays strict."""

MAX_COUNT = 2**53
"""Of tokens, rows and steps: rates and times are floats, which count exactly up to here."""


UserPath = Annotated[str, AfterValidator(with_home)]
"""A path in a TOML file, in which `~` is the home directory unless a folder of this name is there."""


class Section(BaseModel):
    """A frozen table of a TOML file that refuses unknown keys and silent conversions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _whole_floats_are_ints(cls, values: Any) -> Any:
        """`tokens = 3e6` is TOML's float: a whole one is taken where only an integer fits."""
        if not isinstance(values, dict):
            return values
        keys = _whole_keys(cls)
        return {
            key: _whole(value) if key in keys and type(value) is not int else value for key, value in values.items()
        }


class Grown(Section):
    """A table that got keys after data had been prepared or runs been trained from it.

    Keys in `later` are left out of what is written where they have their defaults, so that the hashes of what was made
    before stay what they are.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: Any) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            key: value
            for key, value in handler(self).items()
            if (key not in self.later or getattr(self, key) != fields[key].default) and key not in self._unsaid()
        }

    def _unsaid(self) -> frozenset[str]:
        """Further keys that say nothing here."""
        return frozenset()


@cache
def _whole_keys(table: type[BaseModel]) -> frozenset[str]:
    """Keys where only an integer fits, alone or in a list."""
    return frozenset(name for name, field in table.model_fields.items() if _numbers_in(field.annotation) == {int})


def _numbers_in(annotation: Any) -> set[type]:
    """Which of int and float a key may hold, alone or in a list."""
    if annotation in (int, float):
        return {annotation}
    return set().union(*map(_numbers_in, getattr(annotation, "__args__", ())))


def _whole(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_whole, value))
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_COUNT else value
