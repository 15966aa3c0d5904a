"""The report's figures of widened models with their parent and controls."""

from analyze.figures import Figure
from analyze.report.base import Part, Section, Study
from analyze.report.plots import Dot, LossChange, dot_plot, loss_change
from analyze.scores.validity import neurons_called
from analyze.tables import visible


def _section(study: Study) -> Section | None:
    title = "The widened model beside parent and controls"
    figures = (share_figure(study), loss_figure(study)) if study.comparison.arms else ()
    return Section("widened", title, "Widened", figures) if figures else None


def share_figure(study: Study) -> Figure:
    """Shares and numbers of the neurons that the primary score says yes of: parents, and what starts from them."""
    primary, rows = study.comparison.primary, [arm.result for arm in study.comparison.arms]
    name, called = primary.name, neurons_called(primary.name, primary.verdict.called)
    shares = [Dot(str(row), row.variant, row.scores[name].once_share.scaled(100.0)) for row in rows]
    numbers = [Dot(str(row), row.variant, row.scores[name].once) for row in rows]
    panels = [(f"% {called}, duplicates once", shares), ("neurons, duplicates once", numbers)]
    listed = "; ".join(f"{dot.title}: {dot.estimate.mean:.1f} %" for dot in shares)
    return Figure(
        "widened-share",
        dot_plot(panels, study.styles),
        visible(f"Share of {called} with duplicates counted once. {listed}."),
        "The parent, and the variants that start from it. Duplicates count once: right after widening all copies of a "
        "neuron do the same, and only those that grow apart count as new. Line: 95 % t interval over seeds.",
    )


def loss_figure(study: Study) -> Figure:
    """Losses at birth and at the end of what starts from a checkpoint."""
    arms = [arm for arm in study.comparison.arms if arm.result.is_arm]
    variants = [arm.result.variant for arm in arms]
    changes = [
        LossChange(arm.result.variant, arm.birth_loss, arm.result.eval_loss.mean)
        for index, arm in enumerate(arms)
        if arm.result.variant not in variants[:index]
    ]
    listed = "; ".join(f"{each.variant}: {each.birth:.3f} to {each.end:.3f}" for each in changes)
    return Figure(
        "widened-loss",
        loss_change(changes, study.styles),
        visible(f"Held-out loss at birth and at the end. {listed}."),
        "Mean over seeds. An exact widening starts at its parent's loss. What a control reaches by training on alone, "
        "widening cannot claim.",
    )


PART = Part("widening", 50, _section)
