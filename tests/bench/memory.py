"""Whether memory stays flat: workers when the dataset grows, client and scheduler when its partitions do.

    python tests/bench/memory.py

Peaks are those that Linux keeps for each process. The scheduler lives in the process of the client here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from leads import Data, make
from measuring import DATAFLOW, HERE, Line, arguments, emptied, ended, report, started


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the processes of one run used.

    Attributes:
        worker_peak: MiB of the greatest worker.
        driver_peak: MiB of the client with the scheduler.
        driver_cpu: CPU seconds of the client with the scheduler.
    """

    worker_peak: float
    driver_peak: float
    driver_cpu: float


def use(job: str, work: Path, *settings: str) -> Use:
    """Run a job with two worker processes and watch them to the end."""
    catalog = emptied(work / "catalog")
    options = ("--catalog", catalog, "--workers", "2", "--no-progress")
    process = started([*DATAFLOW, "run", HERE / job, *options, *settings])
    driver, workers, cpu = 0.0, 0.0, 0.0
    while process.poll() is None:
        driver = max(driver, peak(process.pid))
        workers = max([workers, *(peak(child) for child in descendants(process.pid))])
        cpu = max(cpu, cpu_seconds(process.pid))
        time.sleep(0.05)
    ended(process)
    return Use(worker_peak=workers, driver_peak=driver, driver_cpu=cpu)


def descendants(pid: int) -> list[int]:
    """The ids of all processes below this one."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def peak(pid: int) -> float:
    """The greatest resident size that the process ever had, in MiB; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


def cpu_seconds(pid: int) -> float:
    """CPU seconds of the process itself, without its children; 0 when it has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def leads_use(data: Data, work: Path) -> Use:
    """What the vectorised job uses over these leads."""
    return use("leads_vectorised_job.py", work, "--set", f"leads={data.leads}", "--set", f"domains={data.domains}")


def small_use(data: Data, work: Path) -> Use:
    """What a job that does next to nothing uses over these leads."""
    return use("small_job.py", work, "--set", f"leads={data.leads}")


def main() -> None:
    """Measure and report."""
    given = arguments(__doc__, turns=1)
    little, much = (leads_use(make(given.data, files=files, rows_in_file=62_500), given.data) for files in (8, 80))
    few, many = (small_use(make(given.data, files=files, rows_in_file=10), given.data) for files in (1_000, 10_000))
    per_partition = (many.driver_cpu - few.driver_cpu) / 9_000 * 1000
    lines = [
        Line(
            what="worker peak, 10 times the leads",
            measured=much.worker_peak,
            reference=little.worker_peak,
            target=1.2,
            unit="MiB",
        ),
        Line(
            what="client and scheduler peak, 10 times the leads",
            measured=much.driver_peak,
            reference=little.driver_peak,
            unit="MiB",
        ),
        Line(
            what="client and scheduler peak, 10,000 partitions to 1,000",
            measured=many.driver_peak,
            reference=few.driver_peak,
            target=1.2,
            unit="MiB",
        ),
        Line(
            what="client and scheduler CPU a partition, to 5 ms",
            measured=per_partition,
            reference=5,
            target=1,
            unit="ms",
        ),
    ]
    report("Memory, and the cost of a partition", lines)


if __name__ == "__main__":
    main()
