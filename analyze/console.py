"""The command `polysem`: every command of `python -m train` and `python -m analyze`, by what a user wants to do."""

from train.launch import with_process_settings

GROUPS = {
    "Everything at once": ("study", "status"),
    "Train and widen": ("prepare", "documents", "run", "widen", "export"),
    "Look at neurons": ("collect", "score", "list-scores", "labels", "rescore", "probe", "uses", "fission"),
    "Compare and report": ("compare", "report"),
    "Ask an open problem": ("problems", "problem"),
    "Toy models of superposition": ("toy", "toy-pages", "toy-trial", "toy-known", "toy-story"),
    "Check the measures themselves": ("truth", "bench-scores", "fit-headline", "rates"),
}
"""What a user wants to do -> the commands for it."""


def main() -> None:
    """Parse the command line and leave the process with the command's exit code."""
    # Imported here: the process may start itself again before, and an old Python must get no further than that.
    from analyze import __main__ as analyzing
    from train import __main__ as training
    from train.commandline import Program, run_command

    description = "Train small language models, widen them, and measure how polysemantic their neurons are."
    commands = {**training.COMMANDS, **analyzing.COMMANDS}
    run_command(Program("polysem", description, commands, analyzing.version_line, analyzing.FORMER, GROUPS))


def entry() -> None:
    """What the installed command calls: `main`, with the settings that a process needs before it starts."""
    with_process_settings()
    main()


if __name__ == "__main__":
    entry()
