"""The demo: a local Ray head, the main job submitted to it, and the report it made.

python jobs/demo.py [--size demo] [--storage runs]
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from raymap.config import Settings, from_command_line
from raymap.runtime.cluster import local_head


class Demo(Settings):
    """Train RadioDiff-k² on a local Ray cluster and show its maps."""

    size: str = "demo"
    storage: str = "runs"
    num_cpus: int = 3


def main(demo: Demo) -> int:
    begun = time.monotonic()
    storage = Path(demo.storage).resolve()
    home = Path(__file__).resolve().parent.parent
    ray = Path(sys.executable).with_name("ray")
    with local_head(num_cpus=demo.num_cpus) as environ:
        job = [
            str(ray), "job", "submit", "--", sys.executable, str(home / "jobs" / "train_k2.py"),
            "--size", demo.size, "--storage", str(storage),
        ]  # fmt: skip
        status = subprocess.run(job, env=environ, cwd=home).returncode
    if status == 0:
        _show(storage / demo.size / "report", time.monotonic() - begun)
    return status


def _show(folder: Path, seconds: float) -> None:
    methods = json.loads((folder / "metrics.json").read_text())["methods"]
    print(
        f"\n{'method':24s} {'NMSE':>8s} {'RMSE dB':>8s} {'SSIM':>6s} {'PSNR dB':>8s}   (unseen city, raw, all pixels)"
    )
    for name, scores in methods.items():
        whole = {metric: score["mean"] for metric, score in scores["raw"]["all"].items()}
        print(f"{name:24s} {whole['nmse']:8.4f} {whole['rmse_db']:8.2f} {whole['ssim']:6.3f} {whole['psnr']:8.1f}")
    report = folder / "report.html"
    print(f"\n{seconds / 60:.1f} minutes. Pictures and numbers: {report}")
    opener = shutil.which("xdg-open") or shutil.which("open")
    if opener and sys.stdout.isatty():
        subprocess.Popen([opener, str(report)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    # Ended politely, it takes its Ray head along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(from_command_line(Demo(), sys.argv[1:], prog="demo.py")))
