"""The shape of a STUDY.toml: variants, arms and seeds over one base run, and what is collected of each."""

from typing import Any

from pydantic import Field, model_validator

from analyze.nulls import DEFAULT_NULLS
from analyze.scores import PRIMARY
from train.errors import did_you_mean
from train.section import Section, Several, UserPath


class AnalysisConfig(Section):
    """The `[analysis]` table of a study: what is collected and scored of every run."""

    sample_tokens: int = Field(default=1_000_000, gt=0)
    """Held-out tokens whose activations are held whole; the same ones for every variant."""
    untrained_neurons: int = Field(default=1024, gt=0)
    """Of a wider layer's untrained network, the null, so many neurons are scored, chosen at random."""
    scores: Several[str] = ("all",)
    """Of `polysem score`; "all": every one but the optional ones; none: train only, nothing is collected."""
    nulls: Several[str] = DEFAULT_NULLS
    """Nulls that are made of each layer and scored beside it; `<score>_null_z` is against the first."""
    keep_samples: bool = False
    """Keep the whole activations after scoring (4 MB per 1,000 tokens and 2,000 neurons); else collect again."""


class StudyConfig(Section):
    """A study: variants trained from scratch and arms that start from them, each over the same seeds.

    A variant with a `start` of its own is trained on from that checkpoint (`tl:gelu-1l`, say), which is measured too,
    with its untrained network where that lies beside it.

    `variants.<name>` and `arms.<name>` are laid over the run file `base`; arms take `arm_defaults` first, and
    their `start` names a variant, whose run with the same seed they start from.
    """

    base: UserPath
    seeds: Several[int] = Field(min_length=1)
    primaries: Several[str] = (PRIMARY,)
    """Scores that the study is about; chosen before it ran."""
    reference: str | None = None
    """The variant that others are compared with; default: the first."""
    variants: dict[str, dict[str, Any]] = Field(min_length=1)
    arm_defaults: dict[str, Any] = Field(default_factory=dict)
    arms: dict[str, dict[str, Any]] = Field(default_factory=dict)
    analysis: AnalysisConfig = AnalysisConfig()

    @model_validator(mode="after")
    def _names_fit(self) -> "StudyConfig":
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} names a seed twice")
        for name in sorted(set(self.variants) & set(self.arms)):
            raise ValueError(f"arms.{name}: is a variant as well")
        if self.reference is not None and self.reference not in self.variants:
            raise ValueError(
                f"reference: {self.reference!r} is no variant{did_you_mean(self.reference, [*self.variants])}"
            )
        for name, arm in self.arms.items():
            start = arm.get("start", self.arm_defaults.get("start"))
            if start not in self.variants:
                raise ValueError(
                    f"arms.{name}.start: {start!r} is no variant{did_you_mean(str(start), [*self.variants])}"
                )
        return self
