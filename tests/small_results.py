"""A project after a run, made by hand: dvc.yaml as it is, and tables of a few rows."""

import shutil
from pathlib import Path

import pandas as pd
from small_models import ROOT

from goldrm.common.files import write_json
from goldrm.common.tables import write_parquet

PROMPTS = [
    "generate an arithmetic series with 2 terms starting with value 1 and common difference 1",
    "generate an arithmetic series with 2 terms starting with value 5 and common difference 2",
]
# Of two pairs the default ranks both right, the notebook's head only the first one.
TABLES = {
    "sft": "statistic,value,low,high,n,families\nexact_match,0.9,0.8,0.95,10,4\nnll,0.25,,,10,4\n",
    "pairs": "split,statistic,value,n\ntrain,kept,0.25,40\ntrain,prompts,12,12\n"
    "test,kept,0.5,4\ntest,prompts,2,2\n",
    "learning_curves/token_damage": "epoch,step,learning_rate,train_loss,train_accuracy,"
    "validation_loss,validation_accuracy\n0,5,0.001,2,0.5,2.5,0.5\n1,10,0.001,1,0.9,1.5,0.8\n",
    "learning_curves/notebook": "epoch,step,learning_rate,train_loss,train_accuracy,"
    "validation_loss,validation_accuracy\n0,5,0.001,3,0.5,3.5,0.5\n1,10,0.001,2,1,4,0.6\n",
    "statistics": "model,statistic,value,low,high,n,families\n"
    "token_damage,accuracy,0.9876,0.91,0.9951,2,2\n"
    "token_damage,spearman,0.75,0.5,0.875,4,2\n"
    "token_damage,mae,0.125,0.1,0.15,4,2\n"
    "notebook,accuracy,0.5,0.1,0.9,2,2\nnotebook,spearman,-0.25,-0.5,0.5,4,2\n"
    "notebook,mae,1.5,1.25,1.75,4,2\n"
    "log_prob,accuracy,0.75,0.25,1,2,2\nlog_prob,spearman,0.5,0.25,0.75,4,2\n",
    "differences": "model,other,statistic,value,low,high,n,families\n"
    "token_damage,notebook,accuracy,0.5,0.1,0.9,2,2\n",
    "reward_vs_gold": "model,prompt,completion,mistake,gold_reward,reward\n"
    f"token_damage,{PROMPTS[0]},1 2,exact,7,6.5\n"
    f"token_damage,{PROMPTS[0]},1 3,one_term_off,6.4,6\n"
    f"token_damage,{PROMPTS[1]},5 7,exact,7,6.75\n"
    f"token_damage,{PROMPTS[1]},5 9,one_term_off,6.2,6.25\n"
    f"notebook,{PROMPTS[0]},1 2,exact,7,5.25\n"
    f"notebook,{PROMPTS[0]},1 3,one_term_off,6.4,5\n"
    f"notebook,{PROMPTS[1]},5 7,exact,7,5\n"
    f"notebook,{PROMPTS[1]},5 9,one_term_off,6.2,6.5\n",
    "calibration": "model,low,high,n,mean_gold_reward,mean_reward,std_reward\n"
    "token_damage,6,6.5,2,6.3,6.2,0.1\ntoken_damage,6.5,7,2,7,6.6,0.2\n",
    "probability": "model,targets,temperature,log_loss,excess,brier,ece,n\n"
    "token_damage,hard,1,0.5,0.5,0.2,0.1,2\ntoken_damage,hard,0.5,0.25,0.25,0.1,0.1,2\n",
    "reliability": "model,targets,temperature,low,high,n,mean_confidence,mean_target\n"
    "token_damage,hard,1,0.5,0.6,1,0.55,1\ntoken_damage,hard,1,0.6,0.7,1,0.65,1\n"
    "token_damage,soft,0.5,0.5,0.6,1,0.55,0.6\n",
    "best_of_n": "model,n,kl_bound,gold_reward,low,high,regret,best,prompts,families\n"
    "token_damage,1,0,6,5,6.5,0,1,2,2\ntoken_damage,2,0.19,6.5,6,7,0,1,2,2\n"
    "oracle,1,0,6,,,0,1,2,2\noracle,2,0.19,7,,,0,1,2,2\n",
    "breakdown": "model,by,label,value,low,high,n,families\n"
    "token_damage,margin,0.5-1,1,0.5,1,2,2\ntoken_damage,held_out,False,1,0.5,1,2,2\n"
    "token_damage,mistake,wrong_first_term,1,0.5,1,2,2\n"
    "notebook,mistake,wrong_first_term,0.5,0.25,1,2,2\n",
    "probes": "model,probe,value,low,high,n,families\ntoken_damage,dropped,0.75,0.5,1,8,2\n",
    "one_off": "model,size,reward,gold_reward,n\ntoken_damage,1,6.5,6.4,4\n"
    "token_damage,2,6.4,6.2,4\n",
    "over_estimates": "model,prompt,completion,gold_reward,reward,error\n"
    f"token_damage,{PROMPTS[0]},97,3.5,6.25,2.75\ntoken_damage,<b>bold & bad,1 9,4,5,1\n",
    "examples": "model,kind,prompt,completion,gold_reward,reward,error\n"
    f"token_damage,best,{PROMPTS[0]},1 2,7,7,0\n",
}
SETTINGS = ("dvc.yaml", "params.yaml", "upstream/dvc.yaml", "upstream/params.yaml")
NOTE = "torch 2.13.0, Python 3.11"


def write_results(folder: Path) -> None:
    """Write the project's own settings and parameters, and made-up results."""
    for name in (
        ".dvc/config",
        "dvc.yaml",
        "params.yaml",
        "upstream/dvc.yaml",
        "upstream/params.yaml",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
    (folder / ".dvc/config.local").write_text("[core]\n    site_cache_dir = .dvc/tmp/site\n")
    for name, text in TABLES.items():
        path = folder / f"metrics/plots/{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    write_json(folder / "metrics/eval.json", {"token_damage": 0.9876, "pairs": 2})
    write_json(folder / "environment.json", {"evaluate": NOTE, "fetch_sft": NOTE})
    write_parquet(folder / "data/pairs/test.parquet", pairs())


def pairs() -> pd.DataFrame:
    """The two test pairs."""
    return pd.DataFrame(
        {
            "prompt_id": [0, 1],
            "template": [1, 1],
            "start": [1, 5],
            "difference": [1, 2],
            "terms": [2, 2],
            "prompt": PROMPTS,
            "chosen": ["1 2", "5 7"],
            "rejected": ["1 3", "5 9"],
            "chosen_gold_reward": [7.0, 7.0],
            "rejected_gold_reward": [6.4, 6.2],
            "margin": [0.6, 0.8],
        }
    )
