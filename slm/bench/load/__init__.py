from slm.bench.load.bench import Bench, Sweep, Target
from slm.bench.load.figures import Figures, Quantiles, all_figures, first_answers, outcomes_of, repeats_of
from slm.bench.load.loadfile import read_load
from slm.bench.load.records import Cache, LoadFile, Outcome, Phase, Plan
from slm.bench.load.report import LoadReport, best_load, highest_rates, read_report
from slm.bench.load.retry import Retry
from slm.bench.load.shapes import Shape, closed, open_loop, replay
from slm.bench.load.slo import Slo, parse_slo

__all__ = [
    "Bench",
    "Cache",
    "Figures",
    "LoadFile",
    "LoadReport",
    "Outcome",
    "Phase",
    "Plan",
    "Quantiles",
    "Retry",
    "Shape",
    "Slo",
    "Sweep",
    "Target",
    "all_figures",
    "best_load",
    "closed",
    "first_answers",
    "highest_rates",
    "open_loop",
    "outcomes_of",
    "parse_slo",
    "read_load",
    "read_report",
    "repeats_of",
    "replay",
]
