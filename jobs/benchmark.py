"""The benchmark: every method and study trained on the same towns, scored on unseen ones, written as a page.

    python jobs/benchmark.py --size small                          # everything; hours on two cores
    python jobs/benchmark.py --size small --only srm-radiodiff     # only entries whose name matches
    python jobs/benchmark.py --size small --costs                  # what predictions cost, one after the other
    python jobs/benchmark.py --what distribution                   # what Ray costs, see benchmark_distribution.py

Writes ``docs/benchmark.md``, ``docs/benchmark.json`` and pictures in ``docs/benchmark/`` anew after every entry, and
the same page as one file, ``report.html``, into ``runs/benchmark/SIZE``. What is trained and scored stays there: the
same command goes on where it stopped. Rows that the page had before, trained elsewhere on the same maps, stay on it.
Methods of files that ``RAYMAP_METHODS`` names are rows like the others (CONTRIBUTING.md).
"""

import sys
from pathlib import Path

import benchmark_distribution
from pydantic import Field

from raymap import benchmarks, outside, recipes
from raymap.config import Settings, from_command_line
from raymap.runtime import benchmark


class Job(Settings):
    """What to run."""

    size: str = Field("small", description=f"one of {', '.join(recipes.K2_SIZES)}")
    only: str = Field("", description="regular expression for names of entries, e.g. srm- or outline; default: all")
    costs: bool = Field(False, description="train nothing; measure what a prediction by each trained method costs")
    storage: str = Field("runs/benchmark", description="folder for data, trainings and scores")
    page: str = Field(
        "docs/benchmark.md", description="page to write; beside it numbers (.json) and a folder of pictures"
    )


def main(argv: list[str]) -> dict:
    """Run the benchmark and print where its page is."""
    if argv[:2] == ["--what", "distribution"]:
        return benchmark_distribution.main(argv[2:])
    outside.register()
    job = from_command_line(Job(), argv, prog="benchmark.py")
    chosen = benchmarks.benchmark(job.size).model_copy(update={"storage": job.storage, "page": job.page})
    found = benchmark.measure_costs(chosen) if job.costs else benchmark.run(chosen, job.only)
    print(Path(job.page).read_text())
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
