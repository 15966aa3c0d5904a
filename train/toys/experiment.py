"""The question of a toy experiment, and the expectations stated before it runs."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from train.section import Section


class About(Section):
    """The experiment's question. It does not change what is computed."""

    title: str
    problem: str = ""
    """Number in "200 Concrete Open Problems in Mechanistic Interpretability", such as "4.2"; "" for none."""
    source: str = ""
    """The paper and section that the set-up comes from."""
    question: str
    expectation: str
    """Written before the run; the checkable part is in [[expect]]."""
    run_time: str
    """How long it takes, and on what."""
    outcome: str = ""
    """Whether the expectation held, in a sentence, with figures; written after the run."""


class Expectation(Section):
    """One checkable sentence: a measure of an instance (less that of another) within bounds."""

    says: str
    measure: str
    """A name of `train.toys.measures.SCOPES`."""
    where: dict[str, float] = Field(default_factory=dict)
    """Swept values that name the instance; may be left out where there is one instance."""
    minus: dict[str, float] | None = None
    """Swept values of the instance whose measure is subtracted."""
    at_least: float | None = None
    at_most: float | None = None

    @field_validator("where", "minus", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return {key: float(v) for key, v in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _bounded(self) -> "Expectation":
        if self.at_least is None and self.at_most is None:
            raise ValueError("at_least: give at_least, at_most or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least: {self.at_least} lies above at_most = {self.at_most}")
        return self
