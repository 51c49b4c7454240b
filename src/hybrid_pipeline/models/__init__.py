"""The parts of a model and, in ``hybrid``, the only place that assembles an arm."""
