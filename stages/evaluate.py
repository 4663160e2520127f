"""Stage evaluate: how well the reward model ranks and predicts on unseen series."""

from pathlib import Path

from goldrm import dictionary, evaluation, plots, scoring
from goldrm.checkpoint import write_json
from goldrm.config import Params, load_params
from goldrm.device import set_up
from goldrm.paths import DICTIONARY, METRICS, PAIRS, PLOTS, REWARD_MODEL, SFT
from goldrm.stage import run_stage
from goldrm.tables import read_csv, read_parquet, write_csv


def evaluate(params: Params, _work: Path) -> None:
    """data/reward_model on the test pairs → metrics/eval.json, metrics/plots."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    reward_model = scoring.load_reward_model(REWARD_MODEL, SFT, tokens, device)
    pairs = evaluation.score_pairs(reward_model, read_parquet(PAIRS / "test.parquet"))
    completions = evaluation.completions_of(pairs)
    write_csv(PLOTS / "reward_vs_gold.csv", completions)
    curve = read_csv(PLOTS / "learning_curve.csv")
    plots.save(PLOTS / "learning_curve.png", plots.learning_curve(curve))
    plots.save(PLOTS / "reward_vs_gold.png", plots.reward_vs_gold(completions))
    write_csv(
        PLOTS / "examples.csv", evaluation.examples(completions, params.evaluate, params.seed)
    )
    statistics = evaluation.statistics(pairs, params.evaluate, params.seed)
    write_csv(PLOTS / "statistics.csv", statistics)
    write_json(METRICS / "eval.json", evaluation.headline(statistics))


if __name__ == "__main__":
    run_stage(load_params, evaluate)
