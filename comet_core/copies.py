"""What contamination costs where the test set shows the injected objects again.

Photographs of one defective part often come in several, and an injected one leaves its copies in
the test set, also without overlap: the detector is then asked about a defect that it was taught to
be nominal. `apart` divides the anomalous test images of finished runs into those that an injected
image nearly repeats and the others; only the others say what contamination does to defects that
were never seen.
"""

from __future__ import annotations

import pandas as pd

from comet_core import metrics
from comet_core.datasets.base import Dataset
from comet_core.datasets.leakage import duplicates
from comet_core.errors import InputError
from comet_core.results import Store


def apart(rows: pd.DataFrame, dataset: Dataset, store: Store | None = None) -> pd.DataFrame:
    """I-AUROC of each run on anomalous test images that an injected one repeats, and on the others.

    Args:
        rows: of `experiments.run`, of one category, contaminated.
        dataset: that category; its images are compared by `leakage.duplicates`.
        store: where the runs lie; `results.default_store` if left out.

    Returns:
        The rows with `image_auroc_copied` and `image_auroc_new` (all nominal test images against
        the anomalous ones with and without a copy; nan where there are none), and `copied`, the
        share of anomalous test images that have one, or are injected themselves.

    Raises:
        InputError: runs of several categories.
    """
    if len(set(rows["category"])) > 1:
        raise InputError("copies are looked for within one category; pass runs of one at a time.")
    store = store or Store()
    pairs = duplicates(dataset)
    near = pairs["match"] == "near"
    pairs = pairs[["first", "second"]]
    # Of equal images only the first is compared with the others, so it stands for all of them.
    equal: dict[str, str] = {}
    for first, second in pairs[~near].itertuples(index=False):
        equal[second] = equal.get(first, first)
    both = pd.concat([pairs[near], pairs[near].set_axis(["second", "first"], axis=1)])
    copies = both.groupby("first")["second"].agg(set).to_dict()
    found = []
    for run in rows["hash"]:
        manifest = store.table(run, "manifest")
        injected = set(manifest.loc[manifest["origin"] == "injected", "id"].replace(equal))
        tests = store.table(run, "test").astype({"label": int})
        # With overlap an injected image is in the test set itself.
        named = tests["id"].replace(equal)
        again = pd.Series([bool(injected & {one, *copies.get(one, ())}) for one in named])
        anomalous = tests["label"] == 1
        found.append(
            {
                "image_auroc_copied": _auroc(tests[~anomalous | again]),
                "image_auroc_new": _auroc(tests[~anomalous | ~again]),
                "copied": float(again[anomalous].mean()),
            }
        )
    return rows.assign(**pd.DataFrame(found, index=rows.index))


def _auroc(tests: pd.DataFrame) -> float:
    if len(set(tests["label"])) < 2:
        return float("nan")
    return metrics.image_auroc(tests["label"].to_numpy(), tests["score"].to_numpy())
