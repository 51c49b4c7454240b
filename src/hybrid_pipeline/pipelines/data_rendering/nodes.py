"""Adapters between the catalog and the tasks and rendering rooms."""

from __future__ import annotations

from hybrid_pipeline.config import RenderingConfig, StorageConfig
from hybrid_pipeline.tasks import TasksConfig
from hybrid_pipeline.training.handles import TaskHandle


def build_task_table(name: str, tasks: TasksConfig, storage: StorageConfig) -> TaskHandle:
    """Generate or read one task, check its splits and answers, and keep it under its key."""
    from hybrid_pipeline.training.preparation import prepare_table

    return prepare_table(name, tasks.root[name], storage)


def render_task(
    table: TaskHandle, rendering: RenderingConfig, storage: StorageConfig
) -> TaskHandle:
    """Draw every example and noise it twice; shards that exist are kept."""
    from hybrid_pipeline.training.preparation import prepare_views

    return prepare_views(table, rendering, storage)


def draw_contact_sheet(table: TaskHandle, views: TaskHandle, storage: StorageConfig) -> bytes:
    """Some examples of each split, in both noisy views, as one picture."""
    from hybrid_pipeline.report.data_page import contact_sheet
    from hybrid_pipeline.training.preparation import open_task_data

    return contact_sheet(open_task_data(table | views, storage))


def describe_data(*tables: TaskHandle) -> tuple[str, str]:
    """Rows, splits, classes and majority of every task: a page, and lines for the terminal."""
    from hybrid_pipeline.report.data_page import data_page, data_summary

    return data_page(tables), data_summary(tables)
