"""Stage train_sft: the stand-in for the course's steps 1 and 2, upstream/sft_lm.safetensors."""

from dataclasses import asdict
from pathlib import Path

from goldrm.common.device import set_up
from goldrm.common.resume import ResumePoint
from goldrm.common.tensor_files import write_tensors
from goldrm.lm.sizes import BackboneSizes
from goldrm.pipeline.stage import Run, run_stage
from goldrm.task import dictionary
from upstream.params import UpstreamParams
from upstream.sft_training import train_sft as train
from upstream.sft_training import training_sequences


def train_sft(params: UpstreamParams, run: Run) -> None:
    """The root's task and dictionary → sft_lm.safetensors, in 16 bits."""
    device = set_up(params.runtime)
    tokens = dictionary.load_source(Path("../data/source/dictionary.json"), params.task.max_value)
    sizes = BackboneSizes(
        num_tokens=len(tokens),
        padding_int=tokens.pad_id,
        eos_int=tokens.eos_id,
        **params.model.model_dump(),
    )
    state = train(
        sizes,
        training_sequences(tokens, params.task),
        params.train,
        params.seed,
        device,
        ResumePoint(run.work / "training.pt"),
    )
    described = {**asdict(sizes), "split_seed": params.task.split_seed}
    write_tensors(Path("sft_lm.safetensors"), state, described)


if __name__ == "__main__":
    run_stage(UpstreamParams, train_sft)
