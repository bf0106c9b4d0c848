"""Every exception that `slm` raises on purpose.

SlmError
├── InputError            bad input: the user can mend it              CLI exit code 2
│   ├── RecipeError       a recipe, an override or a config file
│   ├── DataError         a data set, a database, a prediction file
│   └── ModelError        a catalog entry, a checksum, a licence, a model folder
└── JobError              the input was fine and the job failed        CLI exit code 1
    ├── DiskFullError     nothing that was already written is harmed
    └── NonFiniteLossError

A message says what is wrong, where it is, what was expected and what to run next.
"""

from collections.abc import Sequence


class SlmError(Exception):
    """Base of all deliberate errors; the CLI prints it without a traceback."""

    exit_code = 1


class InputError(SlmError):
    """Bad input.

    `where` is a file, `file:line`, key or example id; `expected` what would have been right; `hint` what to run next.
    """

    exit_code = 2

    def __init__(
        self, problem: str, *, where: str | None = None, expected: str | None = None, hint: str | None = None
    ) -> None:
        lines = [f"{where}: {problem}" if where else problem]
        if expected:
            lines.append(f"  expected: {expected}")
        if hint:
            lines.append(f"  try: {hint}")
        super().__init__("\n".join(lines))


class RecipeError(InputError):
    """A recipe, an override or a config file that cannot be used as it is."""

    @classmethod
    def of(cls, problems: Sequence[str]) -> "RecipeError":
        """One error that reports every problem found, each already located."""
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        return cls("\n\n".join([f"{count} found", *problems]))


class DataError(InputError):
    """A data set, database or prediction file that is missing, unreadable or inconsistent."""


class ModelError(InputError):
    """A model that is unknown, incomplete, altered, or whose licence was not accepted."""


class JobError(SlmError):
    """The input was fine and the job failed."""


class DiskFullError(JobError):
    """The disk is full. Files already complete are untouched, because every write is atomic."""


class NonFiniteLossError(JobError):
    """The training loss became NaN or infinite; names the examples of the step."""
