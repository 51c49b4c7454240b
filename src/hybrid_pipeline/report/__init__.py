"""The report of a study: tables, figures, Markdown, one self-contained HTML page.

Entry points: ``inputs.ReportInputs`` (what a report is made of), ``render.render_markdown``,
``render.render_html``, ``figures.figures`` and ``terminal.terminal_table``. Nothing is imported
here, so that the terminal table costs neither Plotly nor great-tables.
"""
