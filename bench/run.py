"""Measure lambdabox beside its peers, each pair in turn within one run, and write the table.

    .venv/bin/python bench/run.py [--rounds 5] [--only NAME ...] [--peers-only] [--quick] [--json FILE]

A full run (every row, at least five rounds, both sides) writes bench/RESULTS.md and bench/results.json; any other run only
prints. Status 0: every required figure was met; 1: one was missed or could not be measured on our side.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

# The folder of a script comes first on the path; there, profile.py would hide the standard library's module of that name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import scenarios, setup, simulator_scenarios, systems  # noqa: E402
from bench.scenarios import Row  # noqa: E402

ROWS = (*scenarios.ROWS, *simulator_scenarios.ROWS)

RESULTS = systems.BENCH / "RESULTS.md"
FIGURES = systems.BENCH / "results.json"
CANNOT = (systems.NotAvailable, systems.Failed, OSError, subprocess.SubprocessError, scenarios.load.BrokenReply)


def measure(row: Row, rounds: int, *, peers_only: bool) -> dict[str, dict[str, object]]:
    """All sides of a row, interleaved; gives each side's rounds, or why it has none."""
    sides = {"ours": row.ours, "peer": row.peer, **row.beside}
    if peers_only:
        del sides["ours"]
    result: dict[str, dict[str, object]] = {side: {"rounds": []} for side in sides}
    with ExitStack() as stack:
        measures = {}
        for side, start in sides.items():
            try:
                measures[side] = start(stack)
            except CANNOT as error:
                result[side]["missing"] = reason(error)
        for number in range(1, rounds + 1):
            for side in list(measures):
                progress(f"{row.name}: round {number} of {rounds}, {side}")
                try:
                    result[side]["rounds"].append(measures[side]())
                except CANNOT as error:
                    result[side]["missing"] = reason(error)
                    del measures[side]
    progress("")
    for entry in result.values():
        if "missing" not in entry:
            entry["median"] = statistics.median(entry["rounds"])
    return result


def reason(error: BaseException) -> str:
    """Why a side has no figures, without this machine's paths."""
    text = str(error) or type(error).__name__
    return text.replace(f"{systems.BENCH.parent}/", "").replace(str(Path.home()), "~")


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(f"bench: {text}", file=sys.stderr, flush=True)


def judge(row: Row, sides: dict[str, dict[str, object]]) -> dict[str, object]:
    """The row as it stands in the table."""
    ours, peer = sides.get("ours", {}).get("median"), sides["peer"].get("median")
    ratio = ours / peer if ours is not None and peer else None
    figure = ours if row.absolute else ratio
    if "ours" not in sides:
        verdict = "peers only"
    elif ours is None:
        verdict = "NOT MEASURED"
    elif figure is None:
        verdict = "no peer"
    else:
        meets = (lambda bound: figure <= bound) if row.less_is_better else (lambda bound: figure >= bound)
        verdict = "aim met" if meets(row.aim) else "required met" if meets(row.required) else "MISSED"
    return {
        "name": row.name,
        "what": row.what,
        "beside": row.peer_name,
        "unit": row.unit,
        "ours": ours,
        "peer": peer,
        "ratio": ratio,
        "required": row.required,
        "aim": row.aim,
        "absolute": row.absolute,
        "verdict": verdict,
        "sides": sides,
    }


# Rendering ------------------------------------------------------------------------------------------------------------


def number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "-"
    text = f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"
    return f"{text} {unit}".rstrip()


def bound(row: Row, value: float) -> str:
    word = "at most" if row.less_is_better else "at least"
    return f"{word} {value:g}" + ("" if row.absolute else " x")


def peer_cell(row: Row, line: dict[str, object]) -> str:
    """A peer that cannot be had stands here by name; the notes say why."""
    figure = "not measured, see the notes" if "missing" in line["sides"]["peer"] else number(line["peer"], row.unit)
    return f"{row.peer_name}: {figure}"


def cells(row: Row, line: dict[str, object]) -> list[str]:
    return [
        row.what,
        number(line["ours"], row.unit),
        peer_cell(row, line),
        "-" if line["ratio"] is None else f"{line['ratio']:.2f} x",
        bound(row, row.required),
        bound(row, row.aim),
        str(line["verdict"]),
    ]


HEADINGS = ["what", "ours", "peer", "ratio", "required", "aim", "verdict"]


def table(rows: list[list[str]]) -> str:
    """A Markdown table that also reads well as text."""
    widths = [max(len(row[i]) for row in [HEADINGS, *rows]) for i in range(len(HEADINGS))]
    lines = [HEADINGS, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def notes(lines: list[dict[str, object]]) -> list[str]:
    """What a reader of the table should know: who is missing and why, spreads, figures of others."""
    found = []
    for line in lines:
        for side, entry in line["sides"].items():
            who = {"ours": "lambdabox", "peer": line["beside"]}.get(side, side)
            if "missing" in entry:
                found.append(f"{line['name']}: {who} was not measured: {entry['missing']}")
            elif side not in ("ours", "peer"):
                found.append(f"{line['name']}: {who}, in the same rounds: {number(entry['median'], line['unit'])}")
    return found


def spread(entry: dict[str, object], unit: str) -> str:
    if not entry.get("rounds"):
        return "-"
    return f"{number(min(entry['rounds']))} to {number(max(entry['rounds']), unit)}"


def machine() -> dict[str, object]:
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    system = f"{platform.system()} {platform.release()}"
    with contextlib.suppress(OSError):
        system = f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {system}"
    return {"cores": os.cpu_count(), "cpu": model, "system": system, "load_before": round(os.getloadavg()[0], 2)}


def versions(known: dict[str, dict[str, str]]) -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in ("lambdabox", "uvloop", "httptools", "msgspec"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    with contextlib.suppress(OSError):
        found["Node.js"] = (
            subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip().lstrip("v")
        )
    with contextlib.suppress(OSError):
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=systems.BENCH, capture_output=True, text=True, check=False
        )
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", "../src", "../runtime"],
            cwd=systems.BENCH,
            capture_output=True,
            text=True,
            check=False,
        )
        if commit.returncode == 0:
            state = commit.stdout.strip() + (" and uncommitted changes" if changed.stdout.strip() else "")
            found["lambdabox"] = f"{found.get('lambdabox', '')} ({state})".strip()
    for peer, label in (("rie", "RIE"), ("awslambdaric", "awslambdaric"), ("lambda-simulator", "lambda-simulator")):
        found[label] = known[peer].get("version") or f"cannot be had: {known[peer]['missing']}"
    for package in ("serverless", "serverless-offline"):
        found[package] = known["serverless"].get(package) or f"cannot be had: {known['serverless']['missing']}"
    return found


def document(report: dict[str, object], rows: list[Row]) -> str:
    host, lines = report["machine"], report["rows"]
    parts = [
        "# Results of `make bench`",
        "",
        f"{report['date']}, {report['rounds']} rounds, medians; each pair was measured in turn within one run by the same client.",
        "",
        f"- machine: {host['cores']} cores, {host['cpu']}; {host['system']}; load average before the run {host['load_before']}",
        "- versions: " + ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        "",
        table([cells(row, line) for row, line in zip(rows, lines, strict=True)]),
        "",
    ]
    if said := notes(lines):
        parts += ["Notes:", "", *(f"- {note}" for note in said), ""]
    parts += ["The lowest and the highest round:", "", "| row | ours | peer |", "| --- | --- | --- |"]
    parts += [
        f"| {line['name']} | {spread(line['sides'].get('ours', {}), line['unit'])} | {spread(line['sides']['peer'], line['unit'])} |"
        for line in lines
    ]
    return "\n".join(parts) + "\n"


def main() -> int:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description="Measure lambdabox beside its peers.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="only these rows: " + ", ".join(names))
    parser.add_argument("--peers-only", action="store_true", help="measure the peers without lambdabox")
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls: does everything run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    options = parser.parse_args()

    systems.guard()
    known = setup.ensure()
    if options.quick:
        scenarios.EFFORT.divisor = 10
    rows = [row for row in ROWS if options.only is None or row.name in options.only]
    report: dict[str, object] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "rounds": options.rounds,
        "quick": options.quick,
        "machine": machine(),
        "versions": versions(known),
        "rows": [],
    }
    if report["machine"]["load_before"] > 0.5 * (os.cpu_count() or 1):
        print(
            f"bench: this machine is busy (load average {report['machine']['load_before']}); the figures will show it",
            file=sys.stderr,
        )
    for row in rows:
        line = judge(row, measure(row, options.rounds, peers_only=options.peers_only))
        report["rows"].append(line)
        print(
            f"{row.name}: ours {number(line['ours'], row.unit)}, {row.peer_name} {number(line['peer'], row.unit)}: {line['verdict']}",
            flush=True,
        )
    print()
    print(document(report, rows))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.only is None and not options.peers_only and not options.quick and options.rounds >= 5:
        RESULTS.write_text(document(report, rows))
        FIGURES.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if any(line["verdict"] in ("MISSED", "NOT MEASURED") for line in report["rows"]) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
