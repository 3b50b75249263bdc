"""Run every function of this folder's serverless.yml once, and show its event, its result and its REPORT line."""

import json
import shutil
import sys
from pathlib import Path

from lambdabox import LambdaService

FOLDER = Path(__file__).parent
EVENTS = {"basket": "http-api", "thumbnails": "thumbnails", "greeter": "greeter"}
NEEDS = {"nodejs": "node"}


def short(text: str, width: int = 110) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def main() -> int:
    failed = 0
    functions = LambdaService.from_project(FOLDER).functions
    with LambdaService.blocking(functions) as service:
        for function in functions:
            folder = FOLDER / EVENTS[function.key]
            needed = next((tool for language, tool in NEEDS.items() if function.runtime.startswith(language)), None)
            print(f"\n{function.key}  ({function.runtime}, {function.handler})")
            if needed is not None and shutil.which(needed) is None:
                print(f"  skipped: {needed} is not on this machine")
                continue
            event = json.loads((folder / "event.json").read_text())
            expected = json.loads((folder / "expected.json").read_text())
            result = service.invoke(function.key, event)
            print(f"  event   {short(json.dumps(event))}")
            print(f"  result  {short(result.text)}")
            print(f"  {result.logs[-1]}")
            if result.function_error or result.json() != expected:
                failed += 1
                print(f"  NOT AS EXPECTED: {json.dumps(expected)}", *result.logs, sep="\n  ")
    print()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
