"""The page that compares the arms in MLflow's UI: charts, groups and columns behind a short link.

MLflow keeps the state of its experiment page under a tag of the experiment when somebody shares a
view; a link that names the tag opens it. The state is written here, so that the page opens on which
arm is best and how sure that is, and not on thirty unrelated charts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape, unescape
from typing import Any

UI_ADDRESS = "http://127.0.0.1:5000"
VIEW_TAG = "mlflow.sharedViewState."  # MLflow 3.17, experiment-tracking/constants
MAX_TAG_CHARACTERS = 5_000
GROUP_TAG = "result"
ANSWER, CURVES, TASKS, COST = "answer", "curves", "tasks", "cost"
SECTIONS = {
    ANSWER: ("Which arm is best, and how sure is that?", 1),  # the legends need the width
    CURVES: ("While training: mean and range over the seeds", 2),
    TASKS: ("Task by task", 2),
    COST: ("What it costs", 3),
}
# MLflow shows the metric's name as a chart's title, so the names are written to be read.
ACCURACY = "accuracy in percent"
VALIDATION = "validation/score"
VALIDATION_OF_TASK = "validation score in percent"
GAIN = "gain over the arm before in points"


def charted(values: Mapping[str, float], task: str) -> dict[str, float]:
    """Metrics, and a validation score among them in its task's name: charts group by arm."""
    if VALIDATION not in values or not task:
        return dict(values)
    return {**values, f"{VALIDATION_OF_TASK}/{task}": 100 * values[VALIDATION]}


def view_name(study_key: str) -> str:
    """Name of the study's view in the link."""
    return f"study-{study_key[:8]}"


def comparison_url(uri: str, experiment_id: str, study_key: str) -> str:
    """The link that opens the study's comparison.

    Args:
        uri: tracking URI; a database is looked at through ``mlflow ui`` on its default port.
        experiment_id: of the study.
        study_key: of the study.
    """
    base = uri.rstrip("/") if uri.startswith("http") else UI_ADDRESS
    view = f"viewStateShareKey={view_name(study_key)}&compareRunsMode=CHART"
    # the workflow type comes last: put first it breaks the page
    return f"{base}/#/experiments/{experiment_id}/runs?{view}&workflowType=machine_learning"


def view_state(study_key: str, tasks: Sequence[str], banner: str = "") -> str:
    """The state of the page as JSON, short enough for a tag.

    Args:
        study_key: of the study whose runs are shown.
        tasks: names of the tasks; those that do not fit get MLflow's own charts.
        banner: why nothing is judged; stands over the answer. Empty for a study that judges.
    """
    for count in range(len(tasks), -1, -1):
        state = json.dumps(_state(study_key, tasks[:count], banner), separators=(",", ":"))
        if len(state) <= MAX_TAG_CHARACTERS:
            break
    return state


def redirect_page(url: str, command: str) -> str:
    """A page that opens the comparison; it says what must run."""
    start = f"<p>MLflow's UI must be running: <code>{escape(command)}</code></p>" if command else ""
    target = escape(url, quote=True)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Comparison in MLflow</title>'
        f'\n<meta http-equiv="refresh" content="1; url={target}">\n{start}\n'
        f'<p><a href="{target}">Compare the arms in MLflow</a></p></html>\n'
    )


def link_of(page: str) -> str:
    """The link that a page of ``redirect_page`` opens."""
    found = re.search(r'<a href="([^"]+)"', page)
    return unescape(found[1]) if found else ""


def _state(study_key: str, tasks: Sequence[str], banner: str) -> dict[str, Any]:
    sections = SECTIONS | ({ANSWER: (banner, SECTIONS[ANSWER][1])} if banner else {})
    charts = [_bar(ACCURACY, ANSWER), _bar(GAIN, ANSWER)]
    charts += [_line(f"{VALIDATION_OF_TASK}/{task}", CURVES) for task in tasks]
    charts += [_bar(f"{ACCURACY}/{task}", TASKS) for task in tasks]
    charts += [
        _bar(f"final/{name}", COST) for name in ("mean_steps", "flops_per_example", "seconds")
    ]
    return {
        "searchFilter": f"tags.study_key = '{study_key}' and tags.shown = 'yes'",
        "orderByKey": "tags.`place`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            f"metrics.`{name}`" for name in (f"{ACCURACY} low", ACCURACY, f"{ACCURACY} high")
        ],
        "runsHiddenMode": "SHOW_ALL",
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": {
            "aggregateFunction": "average",
            "groupByKeys": [{"mode": "tag", "groupByData": GROUP_TAG}],
        },
        "compareRunCharts": charts,
        "compareRunSections": [
            {"uuid": uuid, "name": name, "display": True, "isReordered": True, "columns": columns}
            for uuid, (name, columns) in sections.items()
        ],
        "isAccordionReordered": True,
        "viewMaximized": True,
        "runListHidden": True,  # the charts name the arms, and need the room
    }


def _bar(metric: str, section: str) -> dict[str, Any]:
    return _card("BAR", metric, section)


def _line(metric: str, section: str) -> dict[str, Any]:
    return _card("LINE", metric, section) | {
        "selectedMetricKeys": [metric],
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "lineSmoothness": 0,
        "useGlobalLineSmoothing": True,
        "useGlobalXaxisKey": True,
        "range": {"xMin": None, "xMax": None, "yMin": None, "yMax": None},
    }


def _card(kind: str, metric: str, section: str) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": metric,
        "metricKey": metric,
        "metricSectionId": section,
        "runsCountToCompare": 50,
        "deleted": False,
        "isGenerated": False,
    }
