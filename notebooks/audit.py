# %% [markdown]
# # Reading the released code beside the equations
#
# The authors published code, which is more than many do, and without it this book would have had to guess a
# good deal more. Code written during research often drifts from the equations of the paper, ours
# included. This chapter lists where the two differ, rebuilds each difference as a small replacement in our own
# loop, and measures what it does to the result. It is not a verdict on the paper's numbers: those come from
# other backbones, data and sizes, and we did not rerun the released code.
#
# | | the equations | the released code |
# |---|---|---|
# | A1 | two detectors, three data sets, contaminated training sets | SimpleNet; the anomalous training images of KSDD2 are left out, and none are added |
# | A2 | the outer step follows the meta-gradient {eq}`eq-outer` | a difference of parameters with its sign reversed, times $2 \cdot 10^{-4}$ |
# | A3 | weights from the model's scores {eq}`eq-weight` | computed once, before training, from an untrained discriminator |
# | A4 | the weight of an image goes with that image | an array of patch scores, indexed as if by image, behind a shuffled loader |
# | A5 | a high score gives a low weight | the score is $-D$, which has a sign; clipping at 0 gives the most normal patches the weight 0 |
# | A6 | $\Sigma$ of training and validation losses of the tasks {eq}`eq-sigma` | pairs of tasks and of ordinary epochs together, rescaled, then $\log(1 + \det)$, clipped |
# | A7 | $\lambda\lVert\theta\rVert^2$ on the model {eq}`eq-scl` | on the discriminator alone, as a raw sum, gains of the normalisation included |
# | A8 | one model in both loops {eq}`eq-inner` | inner loop without adaptor, margin 1, noise 1.2 times as strong |
# | A9 | no label is used | the epoch with the best AUROC on the test set is kept, as SimpleNet's and DifferNet's code do |
#
# A1 is a matter of which experiments were run, and nothing to measure here. The others are
# {data}`~comet_core.audit.DEPARTURES`, one at a time, each against a run that follows the equations. Together they may
# do more, or less, than each alone.

# %% tags=["parameters"]
dataset: str = "mvtec_ad"  # layout of the data set (page "Data sets")
data_root: str = ""  # where it lies; empty: the synthetic stand-in
categories: list[str] = []  # categories to average over; empty: the profile's, or all of your own
contamination: float = 0.1  # anomalous training images per nominal one
seeds: list[int] = []  # of contamination, initialisation and batches; empty: the profile's
profile: str = "demo"  # size of the experiment: smoke, demo or paper
engine: str = "processes"  # or in_process, or a Dask scheduler: tcp://host:port

# %%
from comet_core import audit, audit_report, evidence, experiments, figures_effects, notebook

notebook.begin(globals())
(base,) = evidence.curves(
    profile,
    datasets=[dataset],
    data_root=data_root,
    categories=categories,
    levels=[contamination],
    detectors=["simplenet"],
    strategies=[evidence.METHOD],
    seeds=seeds,
)
rows = experiments.run(audit.grid(base), engine=engine, execute=audit.execute)
effects = audit_report.measured(rows)

# %% tags=["remove-input"]
notebook.say(evidence.scope(rows))

# %% [markdown]
# ## What each is worth here
#
# Left of the line the departure costs I-AUROC, right of it the departure raises it. For A9 the right side is no
# gain but optimism: the labels of the test set helped to choose the number. Keeping the best epoch
# can never look worse than keeping the last; where an interval of A9 still reaches below zero, that is
# because it comes from a few seeds that lie far apart.

# %% mystnb={"figure": {"name": "fig-audit", "caption": "Change in I-AUROC by each departure, against the same run without it: mean of paired runs and 95 % interval over seeds, in points. A9 compares the epoch that is best on the test set with the last one."}, "image": {"alt": "For each departure from the equations a dot and a horizontal bar beside an upright line at zero."}}
notebook.show(
    figures_effects.effects(
        audit_report.drawn(effects), notebook.describe(rows), "change in I-AUROC, points"
    ),
    rows,
)

# %% tags=["remove-input"]
notebook.show_table(
    audit_report.shown(effects),
    "Departures from the equations, one at a time: change in I-AUROC with its 95 % interval over seeds",
    "tab-audit",
    runs=rows,
)

# %% [markdown]
# ## In words

# %% tags=["remove-input"]
notebook.say(audit_report.findings(effects))

# %% [markdown]
# ## How each was rebuilt
#
# A2
# : Twice. *As released*: ordinary steps do the learning, and every sixteenth is preceded by an outer step of
#   $2 \cdot 10^{-4}$ of the difference that five inner steps of Adam make, once towards the adapted weights and once away
#   from them. The step is so short that its direction cannot matter much; the column on the right says how
#   short. *Reversed at our step size* shows what the sign would do if the outer step did the learning.
#
# A3
# : No warm-up, and no refresh: the weights of the first moment stay.
#
# A4
# : The weights of equation {eq}`eq-weight`, correctly computed, are dealt out to other images, anew at every
#   refresh. The released indexing differs in detail; in both, weight and image have nothing to do with
#   each other.
#
# A5
# : The released formula at every refresh, one weight a patch as there. It is compared with equations
#   {eq}`eq-threshold` and {eq}`eq-weight` applied to patches.
#
# A6
# : Beside each pair of the tasks four pairs at the weights before adaptation; mean and deviation of the whole course so
#   far; $\log(1 + \det)$ clipped at 1. That bounds $\lambda$ by $\lambda_0 (1 + \gamma)$.
#
# A7
# : $\lambda_0$ times the plain sum of squares, in both loops, without the factor of {eq}`eq-lambda`.
#
# A8
# : Both models share their weights; the adaptor has no gradient in the inner loop.
#
# A9
# : Every run is scored on the test set after every epoch. Beside the best epoch's gain stands the gain on images that had
#   no say in choosing: each half of the test set chooses for the other. What is left there is a real advantage of
#   stopping at another epoch; the rest is the choice itself. No other number of this book uses it, but for the best
#   length of plain training in {doc}`ablation`, which says so: all are of the last epoch.

# %% [markdown]
# ## Provenance

# %% tags=["remove-input"]
notebook.show_runs(rows)
