"""The shipped accelerate files as Accelerate itself reads them: how many processes, and how they share the weights."""

from pathlib import Path

import pytest
import yaml
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import patch_environment
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

from slm.errors import JobError
from slm.paths import shipped
from slm.train.processes import make_accelerator

FILES = {path.stem: path for path in shipped("configs", "accelerate").glob("*.yaml")}
FSDP = ["fsdp2", "fsdp2-cpu", "fsdp-qlora"]


def launched(path: Path):
    """The options of `accelerate launch` with this file."""
    options = launch_command_parser().parse_args(["--config_file", str(path), "-m", "slm.train", "recipe.yaml"])
    return _validate_launch_command(options)[0]


def test_every_kind_of_machine_has_a_file():
    deepspeed = ["deepspeed-zero2", "deepspeed-zero3"]
    assert set(FILES) == {"cpu", "cpu-2", "one-gpu", "ddp", "multi-node", *FSDP, *deepspeed}


@pytest.mark.parametrize("name", FSDP)
def test_fsdp_files_ask_for_fsdp_2_by_decoder_layer(name):
    options = launched(FILES[name])
    assert options.use_fsdp
    with patch_environment(**prepare_multi_gpu_env(options)):
        plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.cpu_ram_efficient_loading is False
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_files_say_their_stage_and_one_pack_for_each_process(stage):
    options = launched(FILES[f"deepspeed-zero{stage}"])
    assert options.use_deepspeed
    options.deepspeed_fields_from_accelerate_config = ""  # which `accelerate launch` fills in
    _, variables = prepare_deepspeed_cmd_env(options)
    assert variables["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == str(stage)
    assert variables["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"] == "1"
    assert variables["ACCELERATE_DEEPSPEED_ZERO3_INIT"] == "false"


@pytest.mark.parametrize(("name", "machines", "processes"), [("ddp", 1, 2), ("multi-node", 2, 16), ("cpu-2", 1, 2)])
def test_ddp_files_start_their_processes(name, machines, processes):
    options = launched(FILES[name])
    assert options.multi_gpu
    assert (options.num_machines, options.num_processes) == (machines, processes)


def test_no_file_has_a_key_that_accelerate_would_ignore():
    known = vars(launch_command_parser().parse_args(["x.py"]))
    for name, path in FILES.items():
        config = yaml.safe_load(path.read_text())
        for section in ("fsdp_config", "deepspeed_config"):
            assert set(config.get(section, {})) <= set(known), name


def test_processes_that_do_not_know_of_one_another_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("slm.train.processes.Accelerator", lambda **_: type("Alone", (), {"num_processes": 1}))
    with pytest.raises(JobError, match="2 processes were started, but this one sees 1"):
        make_accelerator()
