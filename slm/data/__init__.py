from slm.data.leaks import refuse_leaks
from slm.data.mixture import load_mixture
from slm.data.sources import Dataset, load_dataset
from slm.data.suites import SuiteInfo, list_suites

__all__ = ["Dataset", "SuiteInfo", "list_suites", "load_dataset", "load_mixture", "refuse_leaks"]
