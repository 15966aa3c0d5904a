"""Which problems tables answer: those of the modules that read them."""

from analyze.problems import comparison_answers, score_benchmark_answer, streamed_model_answer
from analyze.problems.table_problem import TableProblem


def table_problems() -> dict[str, TableProblem]:
    """All of them, by number."""
    every = (*comparison_answers.ANSWERED, score_benchmark_answer.ANSWERED, streamed_model_answer.ANSWERED)
    return {each.name: each for each in every}
