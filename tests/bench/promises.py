"""The promises about calling APIs, checked at a real server with real processes: a line for each figure.

    python tests/bench/promises.py                      # all of them, about 8 minutes
    python tests/bench/promises.py rate rate-kill --turns 10

A figure is that of the worst turn; of the rate, that of the worst turn but for one in ten. Everything is timed by the
server, which shares the machine with the workers. Ends with 1 where a promise is missed. Works on Linux only.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable

from judging import Finding, merged
from promises_jobs import check_content, check_lead
from promises_keys import check_again, check_keys
from promises_limits import check_cap, check_rate, check_rate_kill
from promises_stops import check_stops
from promises_waits import check_outage, check_pool, check_slowest

CHECKS: dict[str, Callable[[], list[Finding]]] = {
    "rate": check_rate,
    "rate-kill": check_rate_kill,
    "cap": check_cap,
    "slowest": check_slowest,
    "stops": check_stops,
    "outage": check_outage,
    "pool": check_pool,
    "keys": check_keys,
    "again": check_again,
    "lead": check_lead,
    "content": check_content,
}


def main() -> None:
    """Check, report, and end with 1 where something is missed."""
    about = "\n".join(
        f"  {name:<10} {check.__doc__.splitlines()[0]}" for name, check in CHECKS.items() if check.__doc__
    )
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(CHECKS)}; default: all")
    parser.add_argument("--turns", type=_positive, default=1, help="runs each check so often (%(default)s)")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in CHECKS]:
        parser.error(f"no check {unknown[0]!r}; there are {', '.join(CHECKS)}")
    passed = [report(name, turns=given.turns) for name in given.names or CHECKS]
    sys.exit(not all(passed))


def report(name: str, *, turns: int) -> bool:
    """Run a check and print its lines; whether all of its promises are met, also that it comes to an end."""
    found = []
    for turn in range(turns):
        try:
            found.append(CHECKS[name]())
        except Exception as error:
            traceback.print_exc()
            print(f"{name:<10} ended with {type(error).__name__}: {error}  MISSED", flush=True)
            return False
        if turns > 1:
            figures = ", ".join(f"{one.figure:.4g}" for one in found[-1])
            print(f"{name} turn {turn + 1}: {figures}", file=sys.stderr, flush=True)
    findings = merged(found)
    print(*findings, sep="\n", flush=True)
    return all(one.is_met for one in findings)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    main()
