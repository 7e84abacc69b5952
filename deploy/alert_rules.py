"""Writes the rules of deploy/alerts as the Prometheus operator reads them, into its overlay.

python -m deploy.alert_rules             write it
python -m deploy.alert_rules --check     exit 1 when it is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import yaml

DEPLOY: Final = Path(__file__).resolve().parent
FILE: Final = DEPLOY / "k8s" / "overlays" / "monitoring" / "rules.yaml"
HEAD: Final = "# Generated from deploy/alerts by deploy/alert_rules.py; do not edit.\n"


def text() -> str:
    """The PrometheusRule, as YAML."""
    groups: list[Any] = [
        group
        for file in sorted((DEPLOY / "alerts").glob("*.yaml"))
        for group in yaml.safe_load(file.read_text())["groups"]
    ]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "agentworkspace"},
        "spec": {"groups": groups},
    }
    return HEAD + yaml.safe_dump(rule, sort_keys=False, width=100, allow_unicode=True)


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        if FILE.is_file() and FILE.read_text() == text():
            return 0
        print("The rules changed: run python -m deploy.alert_rules", file=sys.stderr)
        return 1
    FILE.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
