"""The conformance suite of Needle's backends: `pytest --pyargs needle_conformance --device NAME`.

Rows are made of `needle_conformance.case`, their operands of `needle_conformance.inputs`. Nothing is imported here,
because pytest loads the plug-in in every run, and only a run of the suite needs the rest.
"""

__version__ = "0.1.0"
