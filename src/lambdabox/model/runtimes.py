"""Runtime identifiers and their dates (contract 7.8)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeIdentifier:
    """One value of a function's Runtime setting.

    `language` is the family (`python`, `nodejs`, `java`, `ruby`, `dotnet`, `go`, `provided`); `version` is the
    language version it names (`3.12`, `22`, `""` for OS-only); `retired` is AWS's deprecation date (ISO) when it lies
    in the past of `FACTS_DATE`, else None.
    """

    name: str
    language: str
    version: str
    operating_system: str
    deprecation: str | None = None

    @property
    def retired(self) -> str | None:
        return self.deprecation if self.deprecation is not None and self.deprecation < FACTS_DATE else None

    @property
    def is_os_only(self) -> bool:
        """True for runtimes where the function brings its own `bootstrap`."""
        return self.language in ("provided", "go")

    @property
    def version_tuple(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split(".") if part.isdigit())


FACTS_DATE = "2026-11-01"

# name: (language, version, operating system, deprecation date or None when none is scheduled)
_TABLE: dict[str, tuple[str, str, str, str | None]] = {
    "nodejs26.x": ("nodejs", "26", "AL2023", None),
    "nodejs24.x": ("nodejs", "24", "AL2023", "2028-04-30"),
    "nodejs22.x": ("nodejs", "22", "AL2023", "2027-04-30"),
    "nodejs20.x": ("nodejs", "20", "AL2023", "2026-04-30"),
    "nodejs18.x": ("nodejs", "18", "AL2", "2025-09-01"),
    "nodejs16.x": ("nodejs", "16", "AL2", "2024-06-12"),
    "nodejs14.x": ("nodejs", "14", "AL2", "2023-12-04"),
    "nodejs12.x": ("nodejs", "12", "AL2", "2023-03-31"),
    "nodejs10.x": ("nodejs", "10", "AL2", "2021-07-30"),
    "nodejs8.10": ("nodejs", "8", "AL1", "2020-03-06"),
    "nodejs6.10": ("nodejs", "6", "AL1", "2019-08-12"),
    "nodejs4.3": ("nodejs", "4", "AL1", "2020-03-05"),
    "nodejs4.3-edge": ("nodejs", "4", "AL1", "2020-03-05"),
    "nodejs": ("nodejs", "0", "AL1", "2016-10-31"),
    "python3.15": ("python", "3.15", "AL2023", None),
    "python3.14": ("python", "3.14", "AL2023", "2029-06-30"),
    "python3.13": ("python", "3.13", "AL2023", "2029-06-30"),
    "python3.12": ("python", "3.12", "AL2023", "2028-10-31"),
    "python3.11": ("python", "3.11", "AL2", "2027-06-30"),
    "python3.10": ("python", "3.10", "AL2", "2026-10-31"),
    "python3.9": ("python", "3.9", "AL2", "2025-12-15"),
    "python3.8": ("python", "3.8", "AL2", "2024-10-14"),
    "python3.7": ("python", "3.7", "AL1", "2023-12-04"),
    "python3.6": ("python", "3.6", "AL1", "2022-07-18"),
    "python2.7": ("python", "2.7", "AL1", "2021-07-15"),
    "java25": ("java", "25", "AL2023", "2029-06-30"),
    "java21": ("java", "21", "AL2023", "2029-06-30"),
    "java17.al2023": ("java", "17", "AL2023", "2029-06-30"),
    "java11.al2023": ("java", "11", "AL2023", "2029-06-30"),
    "java8.al2023": ("java", "8", "AL2023", "2029-06-30"),
    "java17": ("java", "17", "AL2", "2027-06-30"),
    "java11": ("java", "11", "AL2", "2027-06-30"),
    "java8.al2": ("java", "8", "AL2", "2027-06-30"),
    "java8": ("java", "8", "AL1", "2024-01-08"),
    "dotnet10": ("dotnet", "10", "AL2023", "2028-11-14"),
    "dotnet9": ("dotnet", "9", "AL2023", "2026-11-10"),
    "dotnet8": ("dotnet", "8", "AL2023", "2026-11-10"),
    "dotnet6": ("dotnet", "6", "AL2", "2024-12-20"),
    "dotnetcore3.1": ("dotnet", "3.1", "AL2", "2023-04-03"),
    "dotnetcore2.1": ("dotnet", "2.1", "AL1", "2022-01-05"),
    "dotnetcore2.0": ("dotnet", "2.0", "AL1", "2019-05-30"),
    "dotnetcore1.0": ("dotnet", "1.0", "AL1", "2019-07-30"),
    "ruby4.0": ("ruby", "4.0", "AL2023", "2029-03-31"),
    "ruby3.4": ("ruby", "3.4", "AL2023", "2028-03-31"),
    "ruby3.3": ("ruby", "3.3", "AL2023", "2027-03-31"),
    "ruby3.2": ("ruby", "3.2", "AL2", "2026-03-31"),
    "ruby2.7": ("ruby", "2.7", "AL2", "2023-12-07"),
    "ruby2.5": ("ruby", "2.5", "AL1", "2021-07-30"),
    "go1.x": ("go", "1", "AL1", "2024-01-08"),
    "provided.al2023": ("provided", "", "AL2023", "2029-06-30"),
    "provided.al2": ("provided", "", "AL2", "2026-07-31"),
    "provided": ("provided", "", "AL1", "2024-01-08"),
}

RUNTIMES: dict[str, RuntimeIdentifier] = {
    name: RuntimeIdentifier(name=name, language=language, version=version, operating_system=system, deprecation=date)
    for name, (language, version, system, date) in _TABLE.items()
}
"""Every identifier AWS lists, current and retired."""


def version_at_least(runtime: str, language: str, version: tuple[int, ...]) -> bool:
    """Whether `runtime` is of that language and at least that version; False for unknown identifiers."""
    known = RUNTIMES.get(runtime)
    return known is not None and known.language == language and known.version_tuple >= version
