# %% [markdown]
# # What each setting is worth
#
# What does each setting of CoMet do? Here 14 of them, the strategy included, are changed one at a time while
# everything else stays at its default. The change in I-AUROC is measured in paired runs: same images, same
# seed, one setting different. Where the scatter of the seeds is larger than the effect, we say how large an
# effect the runs still allow, and nothing more.
#
# The test set serves to measure, not to choose: the defaults are not set from this page.

# %% tags=["parameters"]
dataset: str = "mvtec_ad"  # layout of the data set (page "Data sets")
data_root: str = ""  # where it lies; empty: the synthetic stand-in
categories: list[str] = []  # categories to average over; empty: the profile's, or all of your own
detector: str = "simplenet"  # simplenet or differnet
contamination: float = 0.1  # anomalous training images per nominal one
seeds: list[int] = []  # of contamination, initialisation and batches; empty: the profile's
profile: str = "demo"  # size of the experiment: smoke, demo or paper
engine: str = "processes"  # or in_process, or a Dask scheduler: tcp://host:port
record: str = ""  # a file that benchmarks/inner_loop.py wrote; empty: the one of the project

# %%
import pandas as pd

from comet_core import ablation, evidence, experiments, figures_effects, inner_loop, notebook

notebook.begin(globals())
real = inner_loop.read_record(notebook.find_record("inner_loop.json", record))
(base,) = evidence.curves(
    profile,
    datasets=[dataset],
    data_root=data_root,
    categories=categories,
    levels=[contamination],
    detectors=[detector],
    strategies=[evidence.METHOD],
    seeds=seeds,
)

# %% [markdown]
# The first grid is CoMet as it is. It and the strategies that leave something out share their runs with
# other chapters. Each further grid tries other values of one setting, mostly a smaller and a larger one, far
# enough apart that an effect should show.

# %%
rows = experiments.run(ablation.grid(base), engine=engine)
effects = ablation.effects(rows, base)

# %% tags=["remove-input"]
notebook.say(f"{evidence.scope(rows)} {ablation.in_words(effects)}")

# %% [markdown]
# ## At a glance
#
# A dot right of the line is better than the default. An open dot is not settled: its interval crosses the line.
# Intervals are cut at 15 points; an arrow and a number then tell where they end.

# %% mystnb={"figure": {"name": "fig-ablation", "caption": "What each setting does to I-AUROC, against the default in brackets: mean difference of paired runs and 95 % interval over seeds, in points."}, "image": {"alt": "One panel for each setting with its name and default; for each other value a dot and a horizontal bar beside an upright line at zero."}}
notebook.show(
    figures_effects.effects(
        ablation.drawn(effects), notebook.describe(rows), "change in I-AUROC, points", reach=15
    ),
    rows,
)

# %% [markdown]
# ## In numbers
#
# $\lambda_0$ and $\gamma$ belong to equation {eq}`eq-lambda`, $\kappa$ to {eq}`eq-threshold`, $\alpha$ to
# {eq}`eq-inner`; $\beta$ is the step of the optimiser in {eq}`eq-outer`. *Never again* keeps the weights of the first
# refresh. The penalty is a mean square ({ref}`choices <choices>`), so even a hundred times the usual $\lambda_0$ is a
# mild pull.

# %% tags=["remove-input"]
notebook.show_table(
    ablation.shown(effects),
    "One setting at a time: I-AUROC, difference to the default with its 95 % interval, and a finding",
    "tab-ablation",
    runs=rows,
)

# %% [markdown]
# ## Is it the inner loop?
#
# Meta-learning changes two things at once. The outer step is taken at adapted parameters $\theta'$; and it
# sees only the validation parts of the tasks, three images in ten, where a plain step sees all. A
# detector that sees less of the dirt in a step learns less of it, inner loop or not. With `inner_steps=0`
# the second change stays and the first goes: a plain step on the same validation parts. The difference
# between this and the whole is what equation {eq}`eq-inner` is worth. We measure it for both detectors, with
# weights (CoMet) and without (meta).

# %%
bases = evidence.curves(
    profile,
    datasets=[dataset],
    data_root=data_root,
    categories=categories,
    levels=[contamination],
    seeds=seeds,
)
controlled = experiments.run(inner_loop.grids(bases), engine=engine)
apart = inner_loop.parts(controlled)

# %% mystnb={"figure": {"name": "fig-inner-loop", "caption": "What meta-learning adds to I-AUROC, and its two parts: that a step sees the validation parts only, and the inner loop; paired runs, mean and 95 % interval over seeds, in points."}, "image": {"alt": "Four panels, two for each detector, each with three dots and bars beside an upright line at zero: the whole effect, that of fewer images, and that of the inner loop."}}
notebook.show(
    figures_effects.effects(
        inner_loop.drawn(apart), notebook.describe(controlled), "change in I-AUROC, points"
    ),
    controlled,
)

# %% tags=["remove-input"]
notebook.say(inner_loop.in_words(apart))

# %% [markdown]
# DifferNet's inner step is short: on the woven fabric, at $\alpha = 10^{-3}$, it moves the parameters by less
# than a millionth of their length (6 to 7 parts in ten million, the median over the steps of a training, in three
# seeds). Equation {eq}`eq-inner` then leaves $\theta'$ where $\theta$ was, and the scores in the same order. Does
# a longer step do more?

# %% tags=["remove-input"]
flow = next(one for one in bases if one["detector"] == "differnet")
longer = experiments.run(inner_loop.stronger(flow), engine=engine)
notebook.say(inner_loop.stronger_in_words(longer, controlled))

# %% [markdown]
# ### On real data
#
# `benchmarks/inner_loop.py` does the same on images that are not part of the book. This is its record.

# %% mystnb={"figure": {"name": "fig-inner-loop-real", "caption": "What CoMet's meta-learning adds to I-AUROC in the record, and its two parts; paired runs, mean and 95 % interval over seeds, in points."}, "image": {"alt": "A panel for each data set and detector with three dots and bars beside an upright line at zero."}}
measured = inner_loop.parts(real["rows"], ["category", "detector"])
notebook.show(
    figures_effects.effects(
        inner_loop.drawn(measured[measured["strategy"] == evidence.METHOD]),
        inner_loop.described(real),
        "change in I-AUROC, points",
    ),
    record=real,
)

# %% tags=["remove-input"]
notebook.say(inner_loop.in_words(measured))

# %% [markdown]
# ### Or less training?
#
# What most images share is learned first, dirt late. A step that sees three images in ten also trains less in as
# many epochs. So the same record has DifferNet trained plainly for fewer epochs. Without labels nobody can tell
# when to stop, and on clean data stopping early costs something. But a gain over plain training has to be held
# against it.

# %% tags=["remove-input"]
lengths = inner_loop.shorter(real["rows"])
notebook.show_table(
    inner_loop.shorter_shown(lengths),
    "I-AUROC in percent by the number of epochs, on clean and on contaminated training sets, and"
    " what CoMet adds to the latter with its 95 % interval over seeds",
    "tab-training-length",
    record=real,
)

# %% tags=["remove-input"]
notebook.say(f"{inner_loop.shorter_in_words(lengths)}\n\n({inner_loop.described(real)}.)")

# %% [markdown]
# ## Provenance

# %% tags=["remove-input"]
notebook.show_runs(pd.concat([rows, controlled, longer]).drop_duplicates("hash"))
