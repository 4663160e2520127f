"""The report's sentences: how to read what it shows, and what each statistic is."""

from typing import NamedTuple


class Caption(NamedTuple):
    """What stands above and below a figure or a table.

    Attributes:
        heading: of the section that it belongs to.
        how_to_read: a sentence or two.
    """

    heading: str
    how_to_read: str


RUN = "What was run"
HEADLINE = "How good the rewards are"
INPUTS = "The language model and its pairs"
TRAINING = "Training"
RANKING = "Ranking unseen pairs"
REWARDS = "Rewards against gold rewards"
PICKING = "Picking the best of n"
WEAKNESSES = "Where they are weak"
POLICIES = "A language model optimised for the reward"
FURTHER = Caption("Further figures", "")  # of those that no sentence is known of
PAIRS = "The unseen pairs"
PARAMETERS = "Parameters"
PROVENANCE = "Provenance"
ENVIRONMENT = "Environment"

# Of tables and figures of metrics/plots by their file's name, or by their folder's.
CAPTIONS = {
    "stages": Caption(
        RUN,
        "The stages of dvc.yaml, their headline metrics, and whose results these are: of a run in "
        "this folder, of the commit, or of an earlier run; the last column says what has changed.",
    ),
    "headline": Caption(
        HEADLINE,
        "How often the better one of two completions gets the higher reward, the rank correlation "
        "of reward and gold reward, and how far they are apart; in brackets intervals over "
        "families. No training has seen these families.",
    ),
    "default": Caption(
        HEADLINE,
        "The first recipe of params.yaml, with everything that is measured. n counts pairs, "
        "prompts, completions or probes, whichever the statistic is of.",
    ),
    "test_pairs": Caption(
        PAIRS,
        "The pairs that accuracy is of. The last columns say by how much a model's reward of the "
        "chosen completion is above that of the rejected one; search for wrong to see where it "
        "isn't. A click on a column sorts by it.",
    ),
    "params": Caption(PARAMETERS, "params.yaml as it is now, with the unit of every value."),
    "lock": Caption(
        PROVENANCE,
        "What each stage wrote, by its MD5 in dvc.lock: with the same inputs, parameters, versions "
        "and number of threads the bytes are the same.",
    ),
    "environment": Caption(
        ENVIRONMENT,
        "Where each stage ran: what the last bits of a result depend on besides params.yaml.",
    ),
    "sft": Caption(
        INPUTS,
        "How good the frozen language model is on prompts of unseen families, with the interval "
        "where there is one: the share that it writes exactly, greedily, by its cache and by the "
        "notebook's sliding window; the mean gold reward; the negative log-likelihood of an exact "
        "token, in nats.",
    ),
    "pairs": Caption(
        INPUTS,
        "What was sampled for each split. kept: the share of possible pairs that differ in gold "
        "reward; leaking: the share whose prompt has the exact series of another split's.",
    ),
    "learning_curves": Caption(
        TRAINING,
        "Pairs ranked right and the loss after each epoch. Where the curve of training pairs "
        "leaves that of validation pairs, the model memorises. Dashed: the step that was kept, "
        "that of the lowest validation loss.",
    ),
    "statistics": Caption(
        RANKING,
        "A point is a statistic's value, its line the interval over families, the number in "
        "brackets what it is taken over. Of accuracies and correlations more is better (a coin "
        "has 0.5 and 0; best_of_four 0.25), of mse and mae less.",
    ),
    "differences": Caption(
        RANKING,
        "What the default's statistic is more than another's on the same pairs. An interval that "
        "doesn't touch the dashed line at 0 says that the difference isn't chance; mae should be "
        "left of it, the others right.",
    ),
    "reward_vs_gold": Caption(
        REWARDS,
        "A point is a completion of an unseen family. On the dashed line the reward is the gold "
        "reward; above it, the model is fooled.",
    ),
    "calibration": Caption(
        REWARDS,
        "Mean reward of the completions in each bin of gold rewards; bars are a standard deviation "
        "up and down. On the dashed line, rewards are right on average.",
    ),
    "reliability": Caption(
        REWARDS,
        "How often a preference is right, by how confident the model is. A hard target is 1 where "
        "the preferred completion is the better one, else 0; a soft one is how often it would be "
        "preferred, if preferences were drawn by the gold rewards: σ of their difference. On the "
        "dashed line, confidence is right; below it, too high.",
    ),
    "probability": Caption(
        REWARDS,
        "Log-loss of σ(reward difference) as a probability that the first completion is better, "
        "for the same targets; scaled: after division by a temperature that was fitted on "
        "validation pairs. Less is better.",
    ),
    "best_of_n": Caption(
        PICKING,
        "Mean gold reward of the completion that each judge picks of n. The oracle picks by gold "
        "reward, random at random, log_prob the one that the language model finds likeliest. A "
        "curve that turns down shows over-optimisation. Bands are the recipes' intervals.",
    ),
    "breakdown": Caption(
        WEAKNESSES,
        "Share of pairs ranked right by what the pair is like, the number of pairs in brackets. "
        "A number may stand for those up to the next. The mistake is the rejected completion's. "
        "The dashed line is a coin's: near it a model is weak.",
    ),
    "probes": Caption(
        WEAKNESSES,
        "Exact series with one thing wrong: how often the reward is below the exact series'. The "
        "dashed line is a coin's.",
    ),
    "one_off": Caption(
        WEAKNESSES,
        "Mean reward where one term is off by so much. It should lie on the dashed curve, the gold "
        "reward.",
    ),
    "over_estimates": Caption(
        WEAKNESSES,
        "The completions that fool each model most: those whose reward is furthest above the gold "
        "reward, of all that a search by edits found.",
    ),
    "examples": Caption(
        WEAKNESSES,
        "Completions of unseen families: those predicted best, those predicted worst, and random "
        "ones.",
    ),
    "policy": Caption(
        POLICIES,
        "The reward that the language model is optimised for (dashed) and what that is worth "
        "(solid), by how far it has gone from where it started. Where the dashed curve rises and "
        "the solid one falls, the reward is over-optimised.",
    ),
    "policy_over_estimates": Caption(
        POLICIES,
        "What the optimised language model writes whose reward is furthest above the gold reward.",
    ),
}
AS_TABLES = {"sft", "pairs", "over_estimates", "examples", "policy_over_estimates"}

STATISTICS = {
    "accuracy": "share of all unseen pairs ranked right",
    "accuracy_clear": "of those whose gold rewards differ by more than 0.5",
    "accuracy_inexact": "of those whose chosen completion isn't exact",
    "best_of_four": "how often the best of four is picked, as RewardBench 2 has it (chance: 0.25)",
    "one_off_further": "how often a term off by one more gets less than the same term off by one "
    "less",
    "spearman": "rank correlation of reward and gold reward over completions",
    "spearman_inexact": "over completions that aren't exact",
    "probes_spearman": "over probes: exact series with one thing wrong",
    "mse": "mean squared error of the reward",
    "mae": "mean absolute error of the reward",
    "mae_inexact": "of completions that aren't exact",
    "probes_mae": "of probes",
    "r_squared": "1 - mse / variance of the gold rewards",
    "length_partial": "rank correlation of reward with length, beyond the gold reward",
    "spearman_within": "Spearman's correlation within a prompt, on average",
    "kendall_within": "Kendall's correlation within a prompt, on average",
    "reward_std_within": "standard deviation of rewards within a prompt, on average",
    "gold_std_within": "standard deviation of gold rewards within a prompt, on average",
}
# Of the headline: words, and what it is taken over.
JUDGED_BY = {
    "accuracy": ("accuracy", "pairs"),
    "spearman": ("Spearman", "completions"),
    "mae": ("mean absolute error", "completions"),
}
