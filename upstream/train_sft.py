"""Stage train_sft: the stand-in for the course's steps 1 and 2, upstream/sft_lm.safetensors."""

from dataclasses import asdict
from pathlib import Path

from goldrm.common.device import set_up
from goldrm.common.resume import ResumePoint
from goldrm.common.tensor_files import write_tensors
from goldrm.lm.sizes import BackboneSizes
from goldrm.pipeline.stage import Run, run_stage
from goldrm.task import dictionary
from goldrm.task.params import TASKS
from upstream.params import UpstreamParams
from upstream.sft_training import corpus_sequences, training_sequences
from upstream.sft_training import train_sft as train


def train_sft(params: UpstreamParams, run: Run) -> None:
    """Dictionary, and the root's task or a corpus → sft_lm.safetensors, in 16 bits."""
    device = set_up(params.runtime)
    words = () if params.corpus else TASKS[params.task.name].words
    tokens = dictionary.load_source(Path(params.dictionary), params.task.max_value, words)
    sizes = BackboneSizes(
        num_tokens=len(tokens),
        padding_int=tokens.pad_id,
        eos_int=tokens.eos_id,
        **params.model.model_dump(),
    )
    described = asdict(sizes)
    if params.corpus:
        sequences = corpus_sequences(Path(params.corpus), tokens)
    else:
        sequences = training_sequences(tokens, params.task)
        described["split_seed"] = params.task.split_seed
    state = train(
        sizes,
        sequences,
        params.train,
        params.seed,
        device,
        ResumePoint(run.work / "training.pt"),
    )
    write_tensors(Path("sft_lm.safetensors"), state, described)


if __name__ == "__main__":
    run_stage(UpstreamParams, train_sft)
