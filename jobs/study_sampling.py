"""How a trained diffusion is best sampled: quality against latency, and which ensemble gives an honest error bar.

    python jobs/study_sampling.py --model runs/demo/model --data runs/demo/data --split test --out runs/demo/sampling

Takes minutes on two cores (``--max_maps``). Writes ``sampling.md``, ``sampling.json`` and two pictures into ``--out``.
The JSON's ``recipe`` is what ``raymap.models.ensemble.Recipe`` takes.
"""

import sys
import time
from pathlib import Path

from pydantic import Field

from raymap.config import from_command_line
from raymap.evaluation import sampling_page
from raymap.runtime import provenance, sampling


class Job(sampling.Study):
    """Compare ways of sampling a trained RadioDiff or K2."""

    out: str = Field("runs/demo/sampling", description="folder for the page, the numbers and the pictures")


def main(argv: list[str]) -> dict:
    """Run the study, write and print its page; returns the numbers. Raises as ``sampling.run``."""
    job, begun = from_command_line(Job(), argv, prog="study_sampling.py"), time.monotonic()
    found = sampling.run(job)
    page = sampling_page.write(Path(job.out), found, provenance.command("jobs/study_sampling.py", argv))
    print(page.read_text())
    print(f"{time.monotonic() - begun:.0f} s: {page}")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
