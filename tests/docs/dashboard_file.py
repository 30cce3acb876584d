"""Writes docs/dashboard.json, the dashboard for a Grafana that takes a file: `python -m tests.docs.dashboard_file`."""

from pathlib import Path

from components.serving import dashboard

FILE = Path(__file__).parents[2] / "docs" / "dashboard.json"

if __name__ == "__main__":
    FILE.write_text(dashboard.text(), encoding="utf-8")
