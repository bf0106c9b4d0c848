"""llama.cpp's real server through the command line: the run's GGUF file is certified, another run's is found out."""

import json

from servers import completes_text, llama_cpp, python_of
from slm.models.forms import GGUF_FILE, FormSpec
from slm.models.load import load_tokenizer
from slm.ops import export
from smollm import make_smollm_run, smollm_base

SMALL = {"limit": 10, "max_new_tokens": 12, "std": 0.1}  # an answer takes seconds


def test_the_file_is_certified_and_that_of_another_run_is_found(slm, tmp_path):
    python = python_of("SLM_LLAMA_CPP_PYTHON", "it is to name a Python that has xllamacpp (pip install xllamacpp)")
    run, other = (make_smollm_run(tmp_path / "runs", seed=seed, **SMALL) for seed in (1, 2))

    def certify(served, *, expect):
        file = export(served, FormSpec(kind="gguf", quant="f16")) / GGUF_FILE
        with llama_cpp(python, file, "tuned", tmp_path / "llama.log") as url:
            done = slm("parity", run.path, "--endpoint", url, "--model", "tuned", "--json", expect=expect)
            assert completes_text(url, "tuned", load_tokenizer(smollm_base()))
        (certificate,) = json.loads(done.stdout)
        return certificate, {check["name"]: check["outcome"] for check in certificate["checks"]}

    certificate, checks = certify(run, expect=0)
    assert certificate["verdict"] in ("same", "equivalent"), certificate
    assert checks["prompt ids"] == checks["adapter applied"] == checks["adapter of this run"] == "pass"

    certificate, checks = certify(other, expect=1)
    assert certificate["verdict"] == "different"
    assert checks["adapter of this run"] == "fail"
