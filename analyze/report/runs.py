"""The report's foot: where every number comes from."""

from analyze.html import render, versions
from analyze.report.base import Part, Section, Study
from analyze.tables import Table, count
from train.files import manifest_hash


def _section(study: Study) -> Section:
    facts = study.comparison.facts
    provenance = (
        f"Data {facts.data_hash[:16]}; token sample {facts.tokens_hash[:16]}; {count(facts.n_tokens)} held-out tokens, "
        f"of which activations of {count(facts.n_sampled_tokens)} are held whole; rows of {facts.n_ctx} tokens. Hashes "
        "are sha256 of the sealed directories' manifests."
    )
    command = f"python -m analyze report {study.results}"
    html = render("runs.html.j2", provenance=provenance, command=command, versions=versions(), runs=_runs(study))
    return Section("provenance", "", "Provenance", (html,))


def _runs(study: Study) -> Table:
    cells = [each.cell for row in study.comparison.rows for each in row.cells]
    return Table.of(
        "Every run: seed, step, hook and hashes",
        "",
        cells,
        [
            ("run", lambda cell: cell.meta.run),
            ("seed", lambda cell: str(cell.meta.seed)),
            ("step", lambda cell: f"{cell.meta.step:,}"),
            ("hook", lambda cell: str(cell.place)),
            ("checkpoint", lambda cell: cell.meta.checkpoint_hash[:16]),
            ("activations", lambda cell: manifest_hash(cell.directory.path)[:16]),
            ("scores", lambda cell: cell.hash[:16]),
        ],
    )


PART = Part("runs", 100, _section)
