"""The report's foot: where every number comes from."""

from analyze.html import render, versions
from analyze.report.base import Part, Section, Study
from analyze.tables import Table, count
from train.files import manifest_hash


def _section(study: Study) -> Section:
    meta, tokens_hash = study.comparison.first.meta, study.comparison.first.tokens_hash
    provenance = (
        f"Data {meta.data_hash[:16]}; token sample {tokens_hash[:16]}; {count(meta.n_tokens)} held-out tokens, "
        f"of which activations of {count(meta.n_sampled_tokens)} are held whole; rows of {meta.n_ctx} tokens. Hashes "
        "are sha256 of the sealed directories' manifests."
    )
    command = f"polysem report {study.results}"
    html = render("runs.html.j2", provenance=provenance, command=command, versions=versions(), runs=_runs(study))
    return Section("provenance", "", "Provenance", (html,))


def _runs(study: Study) -> Table:
    rows = [
        (
            ("run", cell.meta.run),
            ("seed", str(cell.meta.seed)),
            ("step", f"{cell.meta.step:,}"),
            ("hook", str(cell.place)),
            ("checkpoint", cell.meta.checkpoint_hash[:16]),
            ("activations", manifest_hash(cell.directory.path)[:16]),
            ("scores", cell.hash[:16]),
        )
        for cell in (each.cell for row in study.comparison.rows for each in row.cells)
    ]
    return Table.of("Every run: seed, step, hook and hashes", "", rows)


PART = Part("runs", 100, _section)
